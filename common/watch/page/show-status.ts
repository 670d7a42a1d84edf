/** Puts what the program says into the elements of the page. */
import { BAD_KINDS, BLOCK_KINDS } from '../block-kinds.ts';
import type { WatchMessage, WatchSide, WatchStatus } from '../watch-status.ts';
import type { LinkState } from './copy-stream.ts';
import { byId, element, isolated, numberText, setText, show, timeText } from './dom.ts';

const MESSAGES_MAX = 600;

const SIDES: Readonly<Record<WatchSide, string>> = {
  sender: 'ddt-send, on the machine of the source',
  receiver: 'ddt-receive, on the machine of the target',
  receipt: 'a finished copy, from its receipt',
};
const THROUGHPUT: Readonly<Record<WatchSide, string>> = {
  sender: 'Disk: what gets onto the target, zeros included. Line: what travels for it, compressed.',
  receiver: 'Disk: what becomes durable here, zeros included. Line: what arrives for it, compressed.',
  receipt: '',
};
const LINKS: Readonly<Record<LinkState, string>> = {
  connecting: 'Connecting …',
  live: 'Live',
  lost: 'No answer from the program: it was stopped, or this page cannot reach it. Trying again.',
  ended: 'The program has ended. This is its last state.',
  'no-key': 'The key is missing: open the whole address, as it was printed, with what follows the #.',
  'wrong-key': 'The key is not the one of the running program: open the address that it prints now.',
};

export class StatusView {
  /** Kinds of blocks that have occurred: a row that comes stays. */
  readonly #seen = new Set<string>();
  #state: LinkState = 'connecting';

  link(state: LinkState): void {
    const link = byId('link', HTMLElement);
    link.dataset['state'] = state;
    setText(link, LINKS[state]);
    const headline = byId('headline', HTMLElement);
    const hasShown = this.#state !== 'connecting' && this.#state !== 'wrong-key';
    if (state === 'no-key' || (state === 'wrong-key' && !hasShown)) setText(headline, 'Nothing can be shown');
    if (state !== 'lost' || this.#state === 'lost') {
      this.#state = state;
      return;
    }
    this.#state = state;
    // What was true of the moment is not shown as if it still were.
    setText(headline, `No answer. Last seen: ${headline.textContent}`);
    setText(byId('eta', HTMLElement), '');
    for (const id of ['lanes-card', 'bottleneck']) show(byId(id, HTMLElement), false);
    const trouble = byId('trouble', HTMLElement);
    setText(trouble, 'If the program was stopped, run the same command again: it resumes.');
    show(trouble, true);
  }

  status(status: WatchStatus): void {
    const { side, headline, percent, amount, eta, trouble, place, state, source, target } = status;
    setText(byId('side', HTMLElement), SIDES[side] + (place === null ? '' : `, disk ${place}`));
    setText(byId('headline', HTMLElement), headline);
    const mark = percent === null || state === 'ended' ? '' : `${percent} % · `;
    const title = `${mark}${headline}`;
    if (document.title !== title) document.title = title;
    const bar = byId('bar', HTMLProgressElement);
    show(bar, percent !== null);
    if (percent !== null) bar.value = percent;
    setText(byId('amount', HTMLElement), amount ?? '');
    const left = eta === null ? '' : `${eta.text} left${eta.range === '' ? '' : ` (${eta.range})`}`;
    setText(byId('eta', HTMLElement), left);
    this.#list('disks', [
      ...(source === null ? [] : [['From', source] as const]),
      ...(target === null ? [] : [['Onto', target] as const]),
    ]);
    show(byId('trouble', HTMLElement), trouble !== null);
    setText(byId('trouble', HTMLElement), trouble ?? '');
    this.#result(status);
    this.#legend(status);
    this.#list('figures', status.figures);
    show(byId('figures-card', HTMLElement), status.figures.length > 0);
    this.#list('facts', status.facts);
    show(byId('facts-card', HTMLElement), status.facts.length > 0);
    this.#lanes(status);
    this.#bottleneck(status);
    show(byId('unreadable', HTMLElement), status.unreadableText !== null);
    setText(byId('unreadable-text', HTMLElement), status.unreadableText ?? '');
    show(byId('throughput', HTMLElement), side !== 'receipt');
    setText(byId('throughput-text', HTMLElement), THROUGHPUT[side]);
  }

  clearMessages(): void {
    byId('messages', HTMLElement).replaceChildren();
  }

  /** The newest at the end, where it is kept in sight unless somebody reads further up. */
  messages(messages: readonly WatchMessage[], nowMs: number): void {
    if (messages.length === 0) return;
    const list = byId('messages', HTMLElement);
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    for (const { atMs, level, text } of messages) {
      const time = element('time', timeText(atMs, nowMs));
      time.setAttribute('datetime', new Date(atMs).toISOString());
      const label = level === 'info' ? [] : [element('strong', `${level}: `)];
      const words = element('span', [...label, isolated(text)], level);
      list.append(element('li', [time, words]));
    }
    while (list.childElementCount > MESSAGES_MAX) list.firstElementChild?.remove();
    if (isAtEnd) list.scrollTop = list.scrollHeight;
  }

  #result({ result }: WatchStatus): void {
    const section = byId('result', HTMLElement);
    show(section, result !== null);
    if (result === null) return;
    section.dataset['kind'] = result.kind;
    setText(byId('result-title', HTMLElement), result.title);
    this.#replace('result-lines', result.lines, (line) => element('p', [isolated(line)]));
  }

  #legend({ map, counts }: WatchStatus): void {
    const total = map?.blockCount ?? 0;
    const rows = BLOCK_KINDS.flatMap((kind, at) => {
      const name = map?.names[kind];
      const count = counts[at] ?? 0;
      if (count > 0) this.#seen.add(kind);
      return name === undefined || !this.#seen.has(kind) ? [] : [{ kind, name, count }];
    });
    const body = document.querySelector('#legend tbody');
    if (!(body instanceof HTMLElement)) return;
    this.#replace(body, rows, ({ kind, name, count }) => {
      const swatch = element('span', '', BAD_KINDS.includes(kind) && count > 0 ? 'swatch bad' : 'swatch');
      swatch.style.backgroundColor = `var(--kind-${kind})`;
      const label = element('th', [swatch, document.createTextNode(name)]);
      label.setAttribute('scope', 'row');
      const share = total === 0 ? '' : shareText(count, total);
      return element(
        'tr',
        [label, element('td', numberText(count), 'number'), element('td', share, 'number')],
        count === 0 ? 'none' : '',
      );
    });
  }

  #lanes({ lanes }: WatchStatus): void {
    show(byId('lanes-card', HTMLElement), lanes.length > 0);
    const body = document.querySelector('#lanes tbody');
    if (!(body instanceof HTMLElement)) return;
    this.#replace(body, lanes, ({ number, doing, text }) =>
      element('tr', [element('td', String(number)), element('td', doing), element('td', text, 'number')]),
    );
  }

  #bottleneck({ bottleneck }: WatchStatus): void {
    show(byId('bottleneck', HTMLElement), bottleneck !== null);
    if (bottleneck === null) return;
    setText(byId('bottleneck-text', HTMLElement), bottleneck.text);
    this.#replace('shares', bottleneck.shares, ([who, percent]) => {
      const bar = document.createElement('progress');
      bar.max = 100;
      bar.value = percent;
      bar.setAttribute('aria-label', who);
      return [element('dt', who), element('dd', [bar, element('span', `${percent} %`, 'number')], 'share')];
    });
  }

  #list(id: string, rows: readonly (readonly [string, string])[]): void {
    this.#replace(id, rows, ([label, text]) => [element('dt', label), element('dd', [isolated(text)])]);
  }

  /** Only what has changed: a selection, and the place of a screen reader, would be lost. */
  #replace<Row>(
    place: string | HTMLElement,
    rows: readonly Row[],
    make: (row: Row) => HTMLElement | HTMLElement[],
  ): void {
    const target = typeof place === 'string' ? byId(place, HTMLElement) : place;
    const key = JSON.stringify(rows);
    if (target.dataset['shown'] === key) return;
    target.dataset['shown'] = key;
    target.replaceChildren(...rows.flatMap(make));
  }
}

/** Never 100 % before all of it, never 0 % of something. */
export function shareText(count: number, total: number): string {
  if (count === 0) return '0 %';
  if (count === total) return '100 %';
  const percent = (count * 100) / total;
  return percent < 0.1 ? '< 0.1 %' : `${Math.min(99.9, Math.floor(percent * 10) / 10).toFixed(1)} %`;
}
