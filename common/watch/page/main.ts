/** The page: one stream, one map, one chart, and the text around them. */
import { BAD_KINDS, BLOCK_KINDS, kindOf, timesOf } from '../block-kinds.ts';
import type { WatchMap, WatchStatus } from '../watch-status.ts';
import { BlockMap, type PointedCell } from './block-map.ts';
import { BlockStore } from './block-store.ts';
import { CopyStream } from './copy-stream.ts';
import { byId, element, numberText, setText, show, timeText } from './dom.ts';
import { StatusView } from './show-status.ts';
import { ThroughputChart } from './throughput-chart.ts';

/** A block is asked for when somebody has pointed at it for this long. */
const DETAIL_MS = 200;

class Page {
  readonly #store = new BlockStore();
  readonly #view = new StatusView();
  readonly #chart = new ThroughputChart(byId('chart', HTMLElement));
  readonly #canvas = byId('map', HTMLCanvasElement);
  readonly #map: BlockMap;
  readonly #stream: CopyStream;
  #status: WatchStatus | undefined;
  #mapId = -1;
  #pointed: PointedCell | undefined;
  #detailTimer: number | undefined;
  #detailText = '';

  constructor(key: string) {
    this.#map = new BlockMap(this.#canvas, this.#store, (cell) => this.#point(cell));
    this.#stream = new CopyStream(key, {
      onState: (state) => this.#view.link(state),
      onBegin: () => this.#begin(),
      onUpdate: ({ status, messages, points, isAllPoints }) => {
        this.#take(status);
        this.#view.messages(messages, status.nowMs);
        this.#chart.add(points, isAllPoints);
      },
      onBlocks: (content) => {
        this.#store.apply(content);
        this.#map.refresh();
      },
      onCopies: (names) => this.#offer(names),
    });
    for (const [id, act] of [
      ['zoom-in', () => this.#map.zoomIn()],
      ['zoom-out', () => this.#map.zoomOut()],
      ['zoom-all', () => this.#map.showAll()],
    ] as const) {
      byId(id, HTMLButtonElement).addEventListener('click', () => {
        act();
        this.#showScale();
      });
    }
    for (const name of ['wheel', 'keyup', 'pointermove', 'dblclick'])
      this.#canvas.addEventListener(name, () => this.#showScale());
  }

  async run(): Promise<never> {
    return await this.#stream.run();
  }

  #begin(): void {
    this.#mapId = -1;
    this.#store.reset();
    this.#view.clearMessages();
    this.#chart.add([], true);
  }

  #take(status: WatchStatus): void {
    this.#status = status;
    this.#view.status(status);
    const { map } = status;
    if (map === null) return;
    if (map.id !== this.#mapId) this.#store.reset();
    this.#mapId = map.id;
    this.#store.resize(map.blockCount);
    this.#map.refresh();
    this.#showScale();
  }

  #offer(names: readonly string[]): void {
    const select = byId('copy', HTMLSelectElement);
    show(byId('copies', HTMLElement), names.length > 1);
    if (select.options.length === names.length) return;
    select.replaceChildren(...names.map((name, at) => new Option(name, String(at))));
    select.addEventListener('change', () => this.#stream.choose(Number(select.value)));
  }

  #showScale(): void {
    const { first, end, blocksPerCell } = this.#map.view.layout;
    const total = this.#store.blockCount;
    if (total === 0) return;
    const cell = blocksPerCell === 1 ? 'one block each' : `${numberText(blocksPerCell)} blocks each`;
    const part = this.#map.view.isWhole
      ? `all ${numberText(total)}`
      : `${numberText(first)} to ${numberText(end - 1)} of ${numberText(total)}`;
    setText(byId('scale', HTMLElement), `${part}; cells of ${cell}`);
    this.#canvas.classList.toggle('near', !this.#map.view.isWhole);
    const bad = BAD_KINDS.filter((kind) => (this.#status?.counts[BLOCK_KINDS.indexOf(kind)] ?? 0) > 0);
    const trouble = bad.map((kind) => this.#status?.map?.names[kind] ?? kind).join('; ');
    const label = `Map of ${numberText(total)} blocks${trouble === '' ? '' : `; some: ${trouble}`}`;
    if (this.#canvas.getAttribute('aria-label') !== label) this.#canvas.setAttribute('aria-label', label);
  }

  #point(cell: PointedCell | undefined): void {
    const isSame = cell?.first === this.#pointed?.first && cell?.end === this.#pointed?.end;
    this.#pointed = cell;
    if (!isSame) this.#detailText = '';
    this.#showPointed();
    if (isSame || cell === undefined || cell.end - cell.first !== 1) return;
    clearTimeout(this.#detailTimer);
    this.#detailTimer = setTimeout(() => void this.#askDetail(cell.first), DETAIL_MS);
  }

  async #askDetail(index: number): Promise<void> {
    const block = await this.#stream.block(index);
    if (block === undefined || this.#pointed?.first !== index) return;
    const { lane, atMs, digest } = block;
    const known = [
      ...(atMs === null ? [] : [`last change ${timeText(atMs, this.#status?.nowMs ?? atMs)}`]),
      ...(lane === null ? [] : [`on lane ${lane}`]),
      ...(digest === null ? [] : [`digest ${digest}`]),
    ];
    this.#detailText = known.join(', ');
    this.#showPointed();
  }

  #showPointed(): void {
    const place = byId('pointed', HTMLElement);
    const [cell, map] = [this.#pointed, this.#status?.map ?? null];
    if (cell === undefined || map === null) return;
    const lines =
      cell.end - cell.first === 1
        ? [...oneBlock(cell.first, this.#store.codeOf(cell.first), map), this.#detailText]
        : manyBlocks(cell, map);
    const shown = lines.filter((line) => line !== '');
    if (place.dataset['shown'] === shown.join('\n')) return;
    place.dataset['shown'] = shown.join('\n');
    place.replaceChildren(...shown.map((line) => element('p', line)));
  }
}

function oneBlock(index: number, code: number, map: WatchMap): string[] {
  const offset = index * map.blockSizeBytes;
  const length = Math.min(map.blockSizeBytes, (map.sizeBytes ?? Infinity) - offset);
  const times = timesOf(code);
  const sent =
    times === 0 ? '' : times === 1 ? ', sent once' : `, sent ${times === 15 ? 'often' : `${times} times`}`;
  return [
    `Block ${numberText(index)}: ${map.names[kindOf(code)] ?? kindOf(code)}${sent}`,
    `offset ${numberText(offset)}, ${numberText(length)} bytes`,
  ];
}

function manyBlocks({ first, end, counts }: PointedCell, map: WatchMap): string[] {
  const parts = BLOCK_KINDS.map((kind, at) => ({ name: map.names[kind] ?? kind, count: counts[at] ?? 0 }))
    .filter(({ count }) => count > 0)
    .toSorted((one, other) => other.count - one.count)
    .map(({ name, count }) => `${numberText(count)} ${name}`);
  return [
    `Blocks ${numberText(first)} to ${numberText(end - 1)}`,
    parts.join('; '),
    `from offset ${numberText(first * map.blockSizeBytes)}`,
  ];
}

const page = new Page(location.hash.slice(1));
// Another key, typed into the address.
addEventListener('hashchange', () => location.reload());
void page.run();
