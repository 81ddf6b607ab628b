/* Tables whose rows are data: sorted, filtered, brushed by a chart, and shown a page at a time. */
const PAGE_ROWS = 100;

function written(value) {
  if (value === null || value === '') return '–';
  if (typeof value !== 'number') return value;
  if (Number.isInteger(value)) return Math.abs(value) >= 10000 ? value.toLocaleString('en') : String(value);
  const size = Math.abs(value);
  return size >= 1e4 || size < 1e-4 ? value.toExponential(3).replace(/\.?0+e/, 'e') : String(Number(value.toPrecision(4)));
}

class LiveTable {
  constructor(root) {
    Object.assign(this, JSON.parse(root.querySelector('script').textContent));
    this.root = root;
    this.rows = this.values.length ? this.values[0].map((_, i) => i) : [];
    this.order = this.rows;
    this.brushed = null;      // a Set of rows, where a chart has a brush
    this.listeners = [];      // told which rows the filter leaves
    this.numeric = this.values.map(c => c.some(v => typeof v === 'number'));
    this.all = this.first.length >= this.columns.length;
    this.shown = PAGE_ROWS;
    this.table = root.querySelector('table');
    const button = root.querySelector('.columns'), more = root.querySelector('.more');
    button.hidden = this.all;
    button.textContent = `All ${this.columns.length} columns`;
    button.addEventListener('click', () => {
      this.all = !this.all;
      button.textContent = this.all ? 'Fewer columns' : `All ${this.columns.length} columns`;
      this.draw();
    });
    more.addEventListener('click', () => { this.shown += 2 * PAGE_ROWS; this.draw(); });
    root.querySelector('input').addEventListener('input', event => {
      this.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.shown = PAGE_ROWS;
      this.draw();
      this.listeners.forEach(told => told(this.filtered()));
    });
    root.closest('details')?.addEventListener('toggle', () => this.draw());
    new ResizeObserver(() => this.freeze()).observe(root);
    this.draw();
  }

  filtered() {
    if (!this.words?.length) return this.order;
    this.texts ??= this.rows.map(i => this.values.map(c => written(c[i])).join('\t').toLowerCase());
    return this.order.filter(i => this.words.every(word => this.texts[i].includes(word)));
  }

  brush(rows) {
    this.brushed = rows && new Set(rows);
    this.shown = PAGE_ROWS;
    this.draw();
  }

  sort(column) {
    const cells = this.values[column], up = !(this.sorted === column && this.up);
    Object.assign(this, {sorted: column, up});
    const empty = value => value === null || value === '';
    this.order = [...this.rows].sort((i, j) => {
      const a = cells[i], b = cells[j];
      if (empty(a) || empty(b)) return empty(a) - empty(b) || i - j;
      const order = typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b));
      return (up ? order : -order) || i - j;
    });
    this.draw();
    this.table.querySelector(`th[data-c="${column}"] button`)?.focus();
  }

  draw() {
    const columns = this.all ? this.columns.map((_, i) => i) : this.first;
    const found = this.filtered().filter(i => !this.brushed || this.brushed.has(i));
    const head = document.createElement('tr'), body = document.createElement('tbody');
    for (const c of columns) {
      const th = document.createElement('th'), button = document.createElement('button');
      th.scope = 'col';
      th.dataset.c = c;
      if (this.numeric[c]) th.className = 'n';
      button.type = 'button';
      button.textContent = this.columns[c];
      button.addEventListener('click', () => this.sort(c));
      if (this.sorted === c) th.setAttribute('aria-sort', this.up ? 'ascending' : 'descending');
      th.append(button);
      head.append(th);
    }
    for (const i of found.slice(0, this.shown)) {
      const row = document.createElement('tr');
      row.dataset.row = i;
      if (this.best?.[i]) row.className = 'best';
      else if (this.inside?.[i]) row.className = 'inside';
      for (const c of columns) {
        const value = this.values[c][i], cell = document.createElement('td'), text = written(value);
        cell.textContent = text;
        if (this.numeric[c]) cell.className = 'n';
        if (typeof value === 'number') {
          if (text !== String(value)) cell.title = value;
        } else if (text.length > 48) {
          cell.textContent = `${text.slice(0, 30)}…${text.slice(-14)}`;
          cell.title = text;
        }
        row.append(cell);
      }
      body.append(row);
    }
    this.table.tHead.replaceChildren(head);
    this.table.tBodies[0].replaceWith(body);
    const of = found.length === this.rows.length ? '' : ` of ${this.rows.length.toLocaleString('en')}`;
    this.root.querySelector('.count').textContent =
      `${found.length.toLocaleString('en')}${of} row${this.rows.length === 1 ? '' : 's'}`
      + (this.brushed ? ', as marked in the chart' : '');
    const more = this.root.querySelector('.more'), left = found.length - this.shown;
    more.hidden = left <= 0;
    more.textContent = `Show ${Math.min(left, 2 * PAGE_ROWS)} more of ${left.toLocaleString('en')}`;
    this.freeze();
  }

  /* Keep the columns that name a row in sight, as far as they leave half of the width to the others. */
  freeze() {
    const room = this.root.clientWidth / 2, heads = [...this.table.tHead.rows[0].cells];
    let left = 0, frozen = 0;
    while (frozen < heads.length && Number(heads[frozen].dataset.c) < this.names && heads[frozen].offsetWidth
      && left + heads[frozen].offsetWidth <= room) left += heads[frozen++].offsetWidth;
    const key = `${frozen} ${left} ${this.table.rows.length}`;
    if (!heads.length || (key === this.frozen && this.table.querySelector('.frozen'))) return;
    this.frozen = key;
    const at = [];
    heads.slice(0, frozen).reduce((x, head) => (at.push(x), x + head.offsetWidth), 0);
    for (const row of this.table.rows) {
      [...row.cells].forEach((cell, c) => {
        if (c >= Math.max(frozen, 1) && !cell.classList.contains('frozen')) return;
        cell.classList.toggle('frozen', c < frozen);
        cell.style.left = c < frozen ? `${at[c]}px` : '';
      });
    }
  }
}

const tables = new Map([...document.querySelectorAll('.live')].map(root => [root, new LiveTable(root)]));
