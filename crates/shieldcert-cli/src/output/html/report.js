'use strict';
// Every value is set as text. The data is an object of columns, in the order of the inventory.
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($('data').textContent);
  const size = data.id.length;
  const DAY = 86400;
  const SOON = 30 * DAY;
  const PRINTED = 1000;
  // Browsers limit the height of an element: beyond this, the scroll bar stands for more than it is long.
  const MAX_HEIGHT = 8e6;

  const search = $('search');
  const frame = $('window');
  const body = $('certificates').tBodies[0];
  const headings = [...$('certificates').tHead.rows[0].cells];
  const number = new Intl.NumberFormat('en');

  const day = (seconds) => (seconds === null ? 'unknown' : new Date(seconds * 1000).toISOString().slice(0, 10));
  const left = (seconds) => {
    if (seconds === null) return 'unknown';
    const distance = seconds - data.taken;
    const days = Math.floor(Math.abs(distance) / DAY);
    const text = days === 1 ? '1 day' : `${number.format(days)} days`;
    return distance < 0 ? `${text} ago` : text;
  };
  const columns = {
    name: (row) => data.name[row],
    status: (row) => data.statuses[data.status[row]],
    expires: (row) => day(data.expires[row]),
    left: (row) => left(data.expires[row]),
    organization: (row) => data.organizations[data.organization[row]] ?? '',
    issued: (row) => day(data.issued[row]),
    serial: (row) => data.serial[row],
    id: (row) => data.id[row],
    zone: (row) => data.zones[data.zone[row]],
  };
  const names = headings.map((heading) => heading.dataset.column);

  const isExpired = (row) => data.expires[row] !== null && data.expires[row] < data.taken;
  const status = (row) => data.statuses[data.status[row]];
  const tiles = {
    all: () => true,
    active: (row) => status(row) === 'active' && !isExpired(row),
    soon: (row) => tiles.active(row) && data.expires[row] !== null && data.expires[row] <= data.taken + SOON,
    expired: (row) => status(row) === 'active' && isExpired(row),
    pending: (row) => status(row).startsWith('pending_'),
    revoked: (row) => status(row) === 'revoked',
  };

  // What is shown: a sorted order of all rows, and those of them that the filters and the search leave.
  let sorting = { column: 'expires', descending: false };
  let order = Uint32Array.from({ length: size }, (_, row) => row);
  let view = order;
  const filters = { tile: null, month: null, organization: null };
  let haystack = null;

  function sort() {
    const { column, descending } = sorting;
    const sign = descending ? -1 : 1;
    let key;
    if (column === 'expires' || column === 'left') key = data.expires.map((seconds) => seconds ?? Infinity);
    else if (column === 'issued') key = data.issued.map((seconds) => seconds ?? Infinity);
    else key = Array.from({ length: size }, (_, row) => columns[column](row).toLowerCase());
    order = Uint32Array.from({ length: size }, (_, row) => row);
    // The order of the inventory decides between equals.
    order.sort((a, b) => (key[a] < key[b] ? -sign : key[a] > key[b] ? sign : a - b));
    for (const heading of headings) {
      const own = heading.dataset.column === column;
      heading.setAttribute('aria-sort', own ? (descending ? 'descending' : 'ascending') : 'none');
    }
  }

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length > 0) {
      haystack ??= Array.from({ length: size }, (_, row) =>
        [columns.name(row), columns.organization(row), data.id[row], data.serial[row], columns.status(row), columns.zone(row)]
          .join('\n').toLowerCase());
    }
    const { tile, month, organization } = filters;
    const matches = (row) =>
      (tile === null || tiles[tile](row))
      && (month === null || (month.start === null
        ? data.expires[row] === null
        : data.expires[row] !== null && data.expires[row] >= month.start && data.expires[row] < month.end))
      && (organization === null || data.organization[row] === organization)
      && words.every((word) => haystack[row].includes(word));
    view = order.filter(matches);
    const isFiltered = words.length > 0 || tile !== null || month !== null || organization !== null;
    const what = [];
    if (month !== null) what.push(month.label);
    if (tile !== null) what.push(document.querySelector(`[data-tile="${tile}"] span`).textContent.toLowerCase());
    if (organization !== null) what.push(data.organizations[organization] ?? 'no organization');
    $('shown').textContent = isFiltered
      ? `${number.format(view.length)} of ${number.format(size)}${what.length ? ' · ' + what.join(' · ') : ''}`
      : number.format(size);
    $('clear').hidden = !isFiltered;
    $('certificates').setAttribute('aria-rowcount', String(view.length + 1));
    frame.scrollTop = 0;
    draw();
  }

  function line(place) {
    const row = view[place];
    const tr = document.createElement('tr');
    tr.setAttribute('aria-rowindex', String(place + 2));
    for (const name of names) {
      const td = tr.insertCell();
      const text = columns[name](row);
      td.title = text;
      if (name === 'status') {
        const badge = document.createElement('span');
        const late = text === 'active' && isExpired(row);
        const tone = late ? 'expired' : text.startsWith('pending_') ? 'pending' : ['active', 'revoked'].includes(text) ? text : '';
        badge.className = `badge ${tone}`;
        badge.textContent = late ? 'active, expired' : text.replaceAll('_', ' ') || 'unknown';
        td.append(badge);
      } else {
        td.textContent = text;
        if (name === 'id' || name === 'serial' || name === 'zone') td.className = 'mono';
        if (name === 'left' && isExpired(row)) td.className = 'late';
      }
    }
    return tr;
  }

  function spacer(height) {
    const tr = document.createElement('tr');
    tr.className = 'spacer';
    tr.setAttribute('aria-hidden', 'true');
    const td = tr.insertCell();
    td.colSpan = names.length;
    td.style.height = `${height}px`;
    return tr;
  }

  let rowHeight = 33;
  function draw() {
    const visible = Math.ceil(frame.clientHeight / rowHeight) + 1;
    const total = view.length * rowHeight;
    const height = Math.min(total, MAX_HEIGHT);
    const range = Math.max(1, height - frame.clientHeight);
    // Where the scroll bar is shorter than the rows, its place is a share.
    const top = total > height
      ? Math.min(1, frame.scrollTop / range) * (total - frame.clientHeight)
      : frame.scrollTop;
    const first = Math.max(0, Math.min(view.length - visible, Math.floor(top / rowHeight)) - 8);
    const last = Math.min(view.length, first + visible + 16);
    const above = total > height ? Math.max(0, frame.scrollTop - (top - first * rowHeight)) : first * rowHeight;
    const rows = [];
    for (let place = first; place < last; place += 1) rows.push(line(place));
    const below = Math.max(0, height - above - rows.length * rowHeight);
    if (rows.length === 0) {
      const tr = document.createElement('tr');
      const td = tr.insertCell();
      td.colSpan = names.length;
      td.className = 'none';
      td.textContent = size === 0 ? 'The zones hold no certificate.' : 'No certificate matches.';
      rows.push(tr);
    }
    body.replaceChildren(spacer(above), ...rows, spacer(below));
    const real = rows[0].getBoundingClientRect().height;
    if (view.length > 0 && Math.abs(real - rowHeight) > 0.5 && real > 0) {
      rowHeight = real;
      draw();
    }
  }

  let scheduled = false;
  function later() {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      draw();
    });
  }
  frame.addEventListener('scroll', later, { passive: true });
  addEventListener('resize', later);

  search.addEventListener('input', filter);
  for (const heading of headings) {
    heading.querySelector('button').addEventListener('click', () => {
      const column = heading.dataset.column;
      sorting = { column, descending: sorting.column === column && !sorting.descending };
      sort();
      filter();
    });
  }

  // A button of a group sets its filter, and clears it when pressed again.
  const groups = { tile: [], month: [], organization: [] };
  function press(group, button, value) {
    const wasPressed = button?.getAttribute('aria-pressed') === 'true';
    for (const other of groups[group]) other.setAttribute('aria-pressed', 'false');
    if (button && !wasPressed) button.setAttribute('aria-pressed', 'true');
    filters[group] = button && !wasPressed ? value : null;
  }
  function group(name, selector, valueOf) {
    for (const button of document.querySelectorAll(selector)) {
      groups[name].push(button);
      button.setAttribute('aria-pressed', 'false');
      button.addEventListener('click', () => {
        press(name, button, valueOf(button));
        filter();
      });
    }
  }
  group('tile', '[data-tile]', (button) => (button.dataset.tile === 'all' ? null : button.dataset.tile));
  group('month', '[data-month]', (button) => ({
    label: `expires ${button.dataset.month}`,
    start: button.dataset.start === undefined ? null : Number(button.dataset.start),
    end: Number(button.dataset.end),
  }));
  group('organization', '[data-organization]', (button) => Number(button.dataset.organization));
  $('clear').addEventListener('click', () => {
    for (const name of Object.keys(groups)) press(name, null);
    search.value = '';
    filter();
    search.focus();
  });

  // The timeline is one stop of the Tab key; arrows move in it.
  const months = groups.month;
  // It begins at the month of the report.
  const current = months.find((button) => Number(button.dataset.end) > data.taken) ?? months.at(-1);
  if (current) {
    if (Number(current.dataset.start) <= data.taken) current.setAttribute('aria-current', 'date');
    current.parentElement.scrollLeft = current.offsetLeft - current.parentElement.offsetLeft - 4 * current.offsetWidth;
  }
  months.forEach((button, place) => {
    button.tabIndex = button === current ? 0 : -1;
    button.addEventListener('keydown', (event) => {
      const to = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: months.length - 1 }[event.key];
      if (to === undefined || !months[to]) return;
      event.preventDefault();
      button.tabIndex = -1;
      months[to].tabIndex = 0;
      months[to].focus();
    });
  });
  addEventListener('keydown', (event) => {
    if (event.key === '/' && event.target !== search) {
      event.preventDefault();
      search.focus();
    }
  });

  // On paper the rows are there, not a window on them.
  addEventListener('beforeprint', () => {
    const rows = Array.from({ length: Math.min(view.length, PRINTED) }, (_, place) => line(place));
    body.replaceChildren(...rows);
    $('cut').textContent = view.length > PRINTED
      ? `The first ${number.format(PRINTED)} of ${number.format(view.length)} are printed. Filter before printing, or list all with: shieldcert list --output csv`
      : '';
  });
  addEventListener('afterprint', () => {
    $('cut').textContent = '';
    draw();
  });

  sort();
  filter();
})();
