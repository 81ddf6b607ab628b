/* Charts by plotly.js, in the page's colours, light or dark; panels stand below each other where it is narrow. */
const LIGHT = {ink: '#1b1f24', soft: '#57606a', line: '#d0d7de', paper: '#ffffff'};
const DARK = {ink: '#e6edf3', soft: '#9da7b3', line: '#30363d', paper: '#0d1117'};
const PAPER_WIDTH = 660, NARROW = 560;
const dark = matchMedia('(prefers-color-scheme: dark)');
const printing = matchMedia('print');
const config = {
  displaylogo: false,
  displayModeBar: 'hover',
  responsive: false,
  showTips: false,
  plotlyServerURL: '',
  modeBarButtonsToRemove: ['sendChartToCloud', 'sendDataToCloud', 'select2d', 'lasso2d', 'zoomIn2d', 'zoomOut2d', 'autoScale2d'],
};

class Chart {
  constructor(place) {
    this.place = place;
    this.text = place.parentElement.querySelector('script').textContent;
    this.drawn = false;
  }

  /* Return the figure in the colours asked for, laid out for a width in pixels. */
  figure(colours, width) {
    const text = this.text.replace(/var\(--(\w+)\)/g, (all, name) => colours[name] ?? all);
    const {data, layout} = JSON.parse(text), {panels, columns, height, least} = layout.meta;
    const beside = Math.max(1, Math.min(columns, Math.floor(width / (NARROW / 2)), panels));
    const rows = Math.ceil(panels / beside), plain = 'rgba(0,0,0,0)';
    layout.width = Math.max(width, least);
    layout.height = rows * height + 40;
    for (const trace of data) if (trace.type === 'heatmap' && width < NARROW) trace.showscale = false;
    if (panels > 1) layout.grid = {rows, columns: beside, pattern: 'independent', xgap: 0.16, ygap: 0.4 / height * 250};
    Object.assign(layout, {
      paper_bgcolor: plain, plot_bgcolor: plain, uirevision: 'kept', autosize: false,
      font: {family: 'system-ui, sans-serif', size: 12, color: colours.ink},
      margin: {l: 50, r: 16, t: 30, b: 44, ...layout.margin},
      hoverlabel: {bgcolor: colours.paper, bordercolor: colours.line, font: {color: colours.ink}, namelength: -1},
      modebar: {bgcolor: plain, color: colours.soft, activecolor: colours.ink},
      legend: {orientation: 'h', x: 0, xanchor: 'left', y: 1 + (layout.annotations ? 26 : 6) / (layout.height - 100), yanchor: 'bottom',
        ...layout.legend},
    });
    for (const name of Object.keys(layout).filter(key => /^[xy]axis\d*$/.test(key))) {
      layout[name] = {gridcolor: colours.line, linecolor: colours.line, zerolinecolor: colours.line, ...layout[name]};
    }
    return [data, layout];
  }

  draw(onPaper = false) {
    const width = onPaper ? PAPER_WIDTH : this.place.clientWidth;
    if (!width) return;
    this.width = width;
    const [data, layout] = this.figure(dark.matches && !onPaper ? DARK : LIGHT, width);
    if (this.linked) this.linked.dress(data);
    Plotly.react(this.place, data, layout, config);
    if (!this.drawn && layout.meta.linked) this.linked = new Linked(this, data[0]);
    this.drawn = true;
  }
}

/* Parallel coordinates and the table of their section: a brush shows its rows there, the table's filter its lines here. */
class Linked {
  constructor(chart, trace) {
    this.chart = chart;
    this.rows = trace.customdata;
    this.dimensions = trace.dimensions.map(d => d.values);
    this.colour = trace.line.color;
    this.table = tables.get(chart.place.closest('section').querySelector('.live'));
    this.left = null;
    chart.place.on('plotly_restyle', () => { this.note(); this.table.brush(this.marked()); });
    this.table.listeners.push(rows => {
      this.left = rows.length < this.table.rows.length ? new Set(rows) : null;
      this.chart.draw();
    });
  }

  /* Take down the brushes, which a chart drawn anew is given again. */
  note() {
    this.ranges = this.chart.place.data[0].dimensions.map(d => d.constraintrange);
  }

  /* Return the rows within every brush, or null where there is none. */
  marked() {
    const brushes = this.ranges.map((range, d) => [range, this.dimensions[d]]).filter(([range]) => range?.length);
    if (!brushes.length) return null;
    const within = ([range, values], i) =>
      (Array.isArray(range[0]) ? range : [range]).some(([a, b]) => values[i] >= Math.min(a, b) && values[i] <= Math.max(a, b));
    return this.rows.filter((_, i) => brushes.every(brush => within(brush, i)));
  }

  dress([trace]) {
    const kept = this.rows.map((_, i) => i).filter(i => !this.left || this.left.has(this.rows[i]));
    trace.dimensions.forEach((d, at) => {
      d.values = kept.map(i => this.dimensions[at][i]);
      if (this.ranges?.[at]) d.constraintrange = this.ranges[at];
    });
    trace.line.color = kept.map(i => this.colour[i]);
  }
}

const charts = [...document.querySelectorAll('.chart')].map(place => new Chart(place));
const seen = new IntersectionObserver(entries => entries.filter(e => e.isIntersecting).forEach(({target}) => {
  const chart = charts.find(c => c.place === target);
  if (!chart.drawn) chart.draw();
}), {rootMargin: '600px'});
charts.forEach(chart => seen.observe(chart.place));
const resized = new ResizeObserver(entries => entries.forEach(({target}) => {
  const chart = charts.find(c => c.place === target);
  if (chart.drawn && !printing.matches && chart.place.clientWidth !== chart.width) chart.draw();
}));
charts.forEach(chart => resized.observe(chart.place));
const again = onPaper => charts.filter(c => onPaper || c.drawn).forEach(c => c.draw(onPaper));
dark.addEventListener('change', () => again(printing.matches));
printing.addEventListener('change', () => again(printing.matches));
addEventListener('beforeprint', () => again(true));
addEventListener('afterprint', () => again(false));
