/** The map of all blocks on a canvas: drawn, zoomed, moved, pointed at, by pointer and by keyboard. */
import { BAD_KINDS, BLOCK_KINDS, BUSY_KINDS } from '../block-kinds.ts';
import type { BlockStore } from './block-store.ts';
import { colorOf } from './dom.ts';
import { MapView } from './map-view.ts';

const ZOOM_STEP = 2;
/** A notch of a wheel is 100. */
const WHEEL_ZOOM = 0.004;
const BAD = BAD_KINDS.map((kind) => BLOCK_KINDS.indexOf(kind));
const BUSY = BUSY_KINDS.map((kind) => BLOCK_KINDS.indexOf(kind));
/** From here on there is room for a sign, for those who do not see the color. */
const SIGN_PIXELS_MIN = 10;

/** A cell, as somebody points at it. */
export interface PointedCell {
  readonly first: number;
  readonly end: number;
  /** Blocks of each kind. */
  readonly counts: Uint32Array;
}

export class BlockMap {
  readonly view = new MapView();
  readonly #canvas: HTMLCanvasElement;
  readonly #store: BlockStore;
  readonly #onPoint: (cell: PointedCell | undefined) => void;
  #colors: string[] = [];
  #outline = '';
  #isDue = false;
  /** The first block of the cell that is pointed at. */
  #pointed: number | undefined;
  readonly #pointers = new Map<number, { x: number; y: number }>();
  #draggedPixels = 0;

  constructor(
    canvas: HTMLCanvasElement,
    store: BlockStore,
    onPoint: (cell: PointedCell | undefined) => void,
  ) {
    this.#canvas = canvas;
    this.#store = store;
    this.#onPoint = onPoint;
    this.#readColors();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      this.#readColors();
      this.redraw();
    });
    new ResizeObserver(() => this.#resize()).observe(canvas);
    canvas.addEventListener('pointermove', (event) => this.#onMove(event));
    canvas.addEventListener('pointerdown', (event) => this.#onDown(event));
    for (const name of ['pointerup', 'pointercancel'] as const)
      canvas.addEventListener(name, ({ pointerId }) => this.#pointers.delete(pointerId));
    canvas.addEventListener('wheel', (event) => this.#onWheel(event), { passive: false });
    canvas.addEventListener('keydown', (event) => this.#onKey(event));
    canvas.addEventListener('dblclick', (event) => this.#zoomAt(1 / ZOOM_STEP, event));
  }

  /** Blocks have changed. */
  refresh(): void {
    this.view.setBlocks(this.#store.blockCount);
    this.redraw();
    if (this.#pointed !== undefined) this.#point(this.#pointed);
  }

  redraw(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#draw();
    });
  }

  zoom(factor: number): void {
    const { first, end } = this.view.layout;
    this.view.zoom(factor, this.#pointed ?? Math.floor((first + end) / 2));
    this.redraw();
  }

  zoomIn(): void {
    this.zoom(1 / ZOOM_STEP);
  }

  zoomOut(): void {
    this.zoom(ZOOM_STEP);
  }

  showAll(): void {
    this.view.showAll();
    this.redraw();
  }

  #readColors(): void {
    this.#colors = BLOCK_KINDS.map((kind) => colorOf(`--kind-${kind}`));
    this.#outline = colorOf('--text');
  }

  #resize(): void {
    const { clientWidth, clientHeight } = this.#canvas;
    const scale = devicePixelRatio;
    this.#canvas.width = Math.round(clientWidth * scale);
    this.#canvas.height = Math.round(clientHeight * scale);
    this.view.setSize(clientWidth, clientHeight);
    this.redraw();
  }

  #draw(): void {
    const context = this.#canvas.getContext('2d');
    if (context === null) return;
    const { first, end, blocksPerCell, columns, cellPixels, cellCount } = this.view.layout;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    const size = cellPixels - 1;
    const counts = new Uint32Array(BLOCK_KINDS.length);
    for (let cell = 0; cell < cellCount; cell++) {
      const start = first + cell * blocksPerCell;
      counts.fill(0);
      this.#store.countInto(counts, start, Math.min(end, start + blocksPerCell));
      const [x, y] = [(cell % columns) * cellPixels, Math.floor(cell / columns) * cellPixels];
      const most = mostOf(counts);
      context.fillStyle = this.#colors[most] ?? '';
      context.fillRect(x, y, size, size);
      const mark =
        BAD.find((kind) => (counts[kind] ?? 0) > 0) ?? BUSY.find((kind) => (counts[kind] ?? 0) > 0);
      if (mark !== undefined) this.#drawMark(context, { x, y, size, mark, isMost: mark === most });
    }
    this.#drawPointed(context);
  }

  /** The worst of a cell, inside the most frequent, so that one block of thousands is seen. */
  #drawMark(
    context: CanvasRenderingContext2D,
    { x, y, size, mark, isMost }: { x: number; y: number; size: number; mark: number; isMost: boolean },
  ): void {
    const isBad = BAD.includes(mark);
    const inset = isBad ? Math.max(1, size / 6) : size / 3;
    if (!isMost) {
      context.fillStyle = this.#colors[mark] ?? '';
      context.fillRect(x + inset, y + inset, size - 2 * inset, size - 2 * inset);
    }
    if (!isBad || size < SIGN_PIXELS_MIN) return;
    const [low, high] = [size * 0.3, size * 0.7];
    context.strokeStyle = '#fff';
    context.lineWidth = Math.max(1.5, size / 9);
    context.beginPath();
    context.moveTo(x + low, y + low);
    context.lineTo(x + high, y + high);
    context.moveTo(x + high, y + low);
    context.lineTo(x + low, y + high);
    context.stroke();
  }

  #drawPointed(context: CanvasRenderingContext2D): void {
    if (this.#pointed === undefined) return;
    const { columns, cellPixels, cellCount } = this.view.layout;
    const cell = this.view.cellOf(this.#pointed);
    if (cell < 0 || cell >= cellCount) return;
    context.strokeStyle = this.#outline;
    context.lineWidth = 2;
    context.strokeRect(
      (cell % columns) * cellPixels - 0.5,
      Math.floor(cell / columns) * cellPixels - 0.5,
      cellPixels,
      cellPixels,
    );
  }

  #point(index: number | undefined): void {
    this.#pointed = index;
    if (index === undefined) {
      this.#onPoint(undefined);
      return;
    }
    const { first, blocksPerCell } = this.view.layout;
    const start = Math.max(first, first + this.view.cellOf(index) * blocksPerCell);
    const end = Math.min(this.#store.blockCount, start + blocksPerCell);
    const counts = new Uint32Array(BLOCK_KINDS.length);
    this.#store.countInto(counts, start, end);
    this.#onPoint({ first: start, end, counts });
  }

  #blockAt({ offsetX, offsetY }: MouseEvent): number | undefined {
    return this.view.blockAt(offsetX, offsetY);
  }

  #zoomAt(factor: number, event: MouseEvent): void {
    const { first, end } = this.view.layout;
    this.view.zoom(factor, this.#blockAt(event) ?? Math.floor((first + end) / 2));
    this.redraw();
  }

  #onDown(event: PointerEvent): void {
    this.#pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (event.pointerType === 'mouse') this.#canvas.setPointerCapture(event.pointerId);
    this.#draggedPixels = 0;
    const index = this.#blockAt(event);
    if (index !== undefined) this.#point(index);
    this.redraw();
  }

  #onMove(event: PointerEvent): void {
    const before = this.#pointers.get(event.pointerId);
    if (before === undefined) {
      const index = this.#blockAt(event);
      if (index === undefined || index === this.#pointed) return;
      this.#point(index);
      this.redraw();
      return;
    }
    const others = [...this.#pointers].filter(([id]) => id !== event.pointerId);
    const now = { x: event.clientX, y: event.clientY };
    this.#pointers.set(event.pointerId, now);
    const [other] = others;
    if (other === undefined) this.#drag(now.y - before.y);
    else {
      const distanceTo = (from: { x: number; y: number }): number =>
        Math.max(1, Math.hypot(from.x - other[1].x, from.y - other[1].y));
      this.#zoomAt(distanceTo(before) / distanceTo(now), event);
    }
  }

  #drag(pixels: number): void {
    const { cellPixels } = this.view.layout;
    this.#draggedPixels += pixels;
    const rows = Math.trunc(this.#draggedPixels / cellPixels);
    if (rows === 0) return;
    this.#draggedPixels -= rows * cellPixels;
    this.view.pan(-rows);
    this.redraw();
  }

  /** A page that cannot be scrolled past its map would be a trap: the map has to be chosen first. */
  #onWheel(event: WheelEvent): void {
    if (document.activeElement !== this.#canvas && !event.ctrlKey) return;
    event.preventDefault();
    this.#zoomAt(Math.exp(event.deltaY * WHEEL_ZOOM), event);
  }

  #onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { first, end, blocksPerCell, columns, rows } = this.view.layout;
    const row = columns * blocksPerCell;
    const moves: Readonly<Record<string, number>> = {
      ArrowLeft: -blocksPerCell,
      ArrowRight: blocksPerCell,
      ArrowUp: -row,
      ArrowDown: row,
      PageUp: -row * rows,
      PageDown: row * rows,
      Home: -Infinity,
      End: Infinity,
    };
    const move = moves[event.key];
    if (move !== undefined) {
      const last = this.#store.blockCount - 1;
      const from = this.#pointed ?? first;
      const to = this.#pointed === undefined ? from : Math.max(0, Math.min(last, from + move));
      this.view.reveal(to);
      this.#point(to);
    } else if (event.key === '+' || event.key === '=') this.zoomIn();
    else if (event.key === '-') this.zoomOut();
    else if (event.key === '0') this.showAll();
    else if (event.key === 'Enter') {
      this.view.zoom(1 / Math.max(1, (end - first) / columns), this.#pointed ?? first);
      if (this.#pointed !== undefined) this.view.reveal(this.#pointed);
    } else return;
    event.preventDefault();
    this.redraw();
    if (this.#pointed !== undefined) this.#point(this.#pointed);
  }
}

function mostOf(counts: Uint32Array): number {
  let most = 0;
  for (let kind = 1; kind < counts.length; kind++) if ((counts[kind] ?? 0) > (counts[most] ?? 0)) most = kind;
  return most;
}
