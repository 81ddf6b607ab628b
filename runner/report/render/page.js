document.querySelectorAll('th button').forEach(button => button.addEventListener('click', () => {
  const head = button.parentElement, row = head.parentElement, body = head.closest('table').tBodies[0];
  const column = [...row.children].indexOf(head), up = head.getAttribute('aria-sort') !== 'ascending';
  [...row.children].forEach(other => other.removeAttribute('aria-sort'));
  head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const key = line => line.children[column].dataset.v ?? line.children[column].textContent;
  const empty = value => value === '' || value === '–';
  [...body.rows].map((line, i) => [key(line), i, line]).sort(([a, i], [b, j]) => {
    if (empty(a) || empty(b)) return empty(a) - empty(b) || i - j;
    const x = Number(a), y = Number(b);
    const order = isNaN(x) || isNaN(y) ? a.localeCompare(b) : x - y;
    return (up ? order : -order) || i - j;
  }).forEach(([, , line]) => body.append(line));
}));
document.querySelectorAll('button.copy').forEach(button => button.addEventListener('click', () => {
  const code = button.previousElementSibling, chosen = getSelection(), range = document.createRange();
  range.selectNodeContents(code); chosen.removeAllRanges(); chosen.addRange(range);
  const done = () => { button.textContent = 'Copied'; };
  if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, () => {});
}));
