/** The page of a fleet: asks for the board once a second, and shows it. */
import { BOARD_PHASES, type BoardJob, type FleetBoard } from '../fleet-board.ts';
import { byId, element, isolated, setText, show } from './dom.ts';

const ASK_MS = 1000;
/** The program answers at once, or it is gone. */
const SILENCE_MS = 10_000;

const LINKS = {
  connecting: 'Connecting …',
  live: 'Live',
  lost: 'No answer from the program: it was stopped, or this page cannot reach it. Trying again.',
  ended: 'The program has ended. This is its last state.',
  'no-key': 'The key is missing: open the whole address, as it was printed, with what follows the #.',
  'wrong-key': 'The key is not the one of the running program: open the address that it prints now.',
} as const;

interface Row {
  readonly row: HTMLElement;
  readonly cells: readonly HTMLElement[];
  readonly bar: HTMLProgressElement;
}

class FleetPage {
  readonly #key: string;
  readonly #body: HTMLElement;
  readonly #rows = new Map<string, Row>();
  #order = '';
  #isOver = false;
  #hasBeenLive = false;

  constructor(key: string) {
    this.#key = key;
    const [body] = byId('jobs', HTMLTableElement).tBodies;
    if (body === undefined) throw new Error('no body');
    this.#body = body;
  }

  /** Never ends. */
  async run(): Promise<never> {
    this.#link(this.#key === '' ? 'no-key' : 'connecting');
    for (;;) {
      await this.#askOnce().catch(() => {
        if (this.#isOver) this.#link('ended');
        else if (this.#hasBeenLive) this.#link('lost');
      });
      await new Promise((resolve) => setTimeout(resolve, ASK_MS));
    }
  }

  async #askOnce(): Promise<void> {
    const response = await fetch('/fleet', {
      headers: { authorization: `Bearer ${this.#key}` },
      cache: 'no-store',
      signal: AbortSignal.timeout(SILENCE_MS),
    });
    if (response.status === 401) {
      this.#link(this.#key === '' ? 'no-key' : 'wrong-key');
      return;
    }
    const board = (await response.json()) as FleetBoard;
    this.#isOver = board.status !== undefined;
    this.#hasBeenLive = true;
    this.#link(this.#isOver ? 'ended' : 'live');
    this.#show(board);
  }

  #link(state: keyof typeof LINKS): void {
    const link = byId('link', HTMLElement);
    link.dataset['state'] = state;
    setText(link, LINKS[state]);
    if (state === 'no-key' || (state === 'wrong-key' && !this.#hasBeenLive))
      setText(byId('headline', HTMLElement), 'Nothing can be shown');
  }

  #show({ headline, percent, amount, eta, jobs, status }: FleetBoard): void {
    setText(byId('headline', HTMLElement), headline);
    setText(byId('amount', HTMLElement), amount);
    setText(byId('eta', HTMLElement), eta);
    const title = percent === null || status !== undefined ? headline : `${percent} % · ${headline}`;
    if (document.title !== title) document.title = title;
    const bar = byId('bar', HTMLProgressElement);
    show(bar, percent !== null);
    bar.value = percent ?? 0;
    const failed = jobs.filter(({ phase }) => phase === 'failed').length;
    const what = failed === 1 ? 'A job has failed' : `${failed} jobs have failed`;
    setText(byId('trouble', HTMLElement), `${what}. Correct the cause, and run the same command again.`);
    show(byId('trouble', HTMLElement), failed > 0);
    const sorted = BOARD_PHASES.flatMap((phase) => jobs.filter((job) => job.phase === phase));
    for (const job of sorted) this.#showJob(job);
    const order = sorted.map(({ name }) => name).join(' ');
    if (order === this.#order) return;
    this.#order = order;
    this.#body.replaceChildren(...sorted.flatMap(({ name }) => this.#rows.get(name)?.row ?? []));
  }

  #showJob({ name, source, target, phase, percent, ...texts }: BoardJob): void {
    let known = this.#rows.get(name);
    if (known === undefined) {
      const bar = document.createElement('progress');
      bar.max = 100;
      bar.setAttribute('aria-label', `Progress of ${name}`);
      const head = element('th', [isolated(name)]);
      head.setAttribute('scope', 'row');
      head.title = `${source} onto ${target}`;
      const cells = ['', 'number', 'number', 'number', ''].map((style) => element('td', '', style));
      const [state, ...more] = cells;
      const row = element('tr', [
        head,
        ...(state === undefined ? [] : [state]),
        element('td', [bar]),
        ...more,
      ]);
      known = { row, cells, bar };
      this.#rows.set(name, known);
    }
    const { row, cells, bar } = known;
    row.dataset['phase'] = phase;
    if (percent === null) bar.removeAttribute('value');
    else bar.value = percent;
    bar.hidden = percent === null;
    const words = [phase, texts.amount, texts.rate, texts.eta, texts.note];
    for (const [at, word] of words.entries()) {
      const cell = cells[at];
      if (cell !== undefined) setText(cell, word);
    }
  }
}

const page = new FleetPage(location.hash.slice(1));
// Another key, typed into the address.
addEventListener('hashchange', () => location.reload());
void page.run();
