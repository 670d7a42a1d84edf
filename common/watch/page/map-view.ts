/** Which blocks a map shows, and where: cells in rows, each of one block or of a power of two. Pure. */

/** Nobody could distinguish more, and they take time to draw. */
export const CELLS_MAX = 4096;
/** Smaller cells cannot be pointed at. */
const CELL_PIXELS_MIN = 7;
const CELL_PIXELS_MAX = 36;
/** The nearest that it can be looked at. */
const VISIBLE_MIN = 64;

export interface MapLayout {
  /** The first block that is shown. */
  readonly first: number;
  /** One past the last. */
  readonly end: number;
  readonly blocksPerCell: number;
  readonly columns: number;
  readonly rows: number;
  readonly cellPixels: number;
  readonly cellCount: number;
}

export class MapView {
  #blockCount = 0;
  #width = 1;
  #height = 1;
  #first = 0;
  /** How many blocks are wanted on the map. */
  #visible = 1;
  #layout: MapLayout;

  constructor() {
    this.#layout = this.#layOut();
  }

  get layout(): MapLayout {
    return this.#layout;
  }

  get isWhole(): boolean {
    return this.#visible >= this.#blockCount;
  }

  /** @param blockCount of another disk: it is shown as a whole. */
  setBlocks(blockCount: number): void {
    if (blockCount === this.#blockCount) return;
    const wasWhole = this.isWhole;
    this.#blockCount = blockCount;
    if (wasWhole) this.showAll();
    else this.#move(this.#first, this.#visible);
  }

  setSize(width: number, height: number): void {
    this.#width = Math.max(CELL_PIXELS_MIN, width);
    this.#height = Math.max(CELL_PIXELS_MIN, height);
    this.#move(this.#first, this.#visible);
  }

  showAll(): void {
    this.#move(0, this.#blockCount);
  }

  /** @param factor below 1: nearer. @param anchor a block that stays where it is. */
  zoom(factor: number, anchor: number): void {
    const { first, end } = this.#layout;
    const share = (anchor - first) / Math.max(1, end - first);
    const visible = Math.max(VISIBLE_MIN, Math.min(this.#blockCount, this.#visible * factor));
    this.#move(anchor - share * visible, visible);
  }

  /** By so many rows. */
  pan(rows: number): void {
    const { columns, blocksPerCell } = this.#layout;
    this.#move(this.#first + rows * columns * blocksPerCell, this.#visible);
  }

  /** Makes sure that a block is on the map. */
  reveal(index: number): void {
    const { first, end, columns, blocksPerCell } = this.#layout;
    if (index >= first && index < end) return;
    const [row, shown] = [columns * blocksPerCell, end - first];
    const step = Math.max(blocksPerCell, Math.floor(Math.min(row, shown) / blocksPerCell) * blocksPerCell);
    const start = index < first ? Math.floor(index / step) : Math.ceil((index + 1 - shown) / step);
    this.#move(start * step, this.#visible);
  }

  /** The first block of the cell at a place; undefined: there is none. */
  blockAt(x: number, y: number): number | undefined {
    const { first, end, blocksPerCell, columns, cellPixels } = this.#layout;
    const [column, row] = [Math.floor(x / cellPixels), Math.floor(y / cellPixels)];
    if (column < 0 || row < 0 || column >= columns) return undefined;
    const index = first + (row * columns + column) * blocksPerCell;
    return index < end ? index : undefined;
  }

  /** The number of the cell that has a block. */
  cellOf(index: number): number {
    return Math.floor((index - this.#layout.first) / this.#layout.blocksPerCell);
  }

  #move(first: number, visible: number): void {
    this.#visible = Math.max(1, Math.min(this.#blockCount, visible));
    this.#first = Math.max(0, first);
    this.#layout = this.#layOut();
  }

  #layOut(): MapLayout {
    const most = Math.min(CELLS_MAX, this.#fitting(CELL_PIXELS_MIN));
    let blocksPerCell = 1;
    while (Math.ceil(this.#visible / blocksPerCell) > most) blocksPerCell *= 2;
    const wanted = Math.max(1, Math.ceil(this.#visible / blocksPerCell));
    let cellPixels = CELL_PIXELS_MIN;
    while (cellPixels < CELL_PIXELS_MAX && this.#fitting(cellPixels + 1) >= wanted) cellPixels++;
    const columns = Math.max(1, Math.floor(this.#width / cellPixels));
    const rows = Math.ceil(wanted / columns);
    // The last row of the map is that of the disk: no empty space is shown after it.
    const lastFirst = this.#blockCount - wanted * blocksPerCell;
    const bounded = Math.max(0, Math.min(this.#first, lastFirst));
    const first = Math.ceil(bounded / blocksPerCell) * blocksPerCell;
    const end = Math.min(this.#blockCount, first + wanted * blocksPerCell);
    this.#first = first;
    const cellCount = Math.ceil((end - first) / blocksPerCell);
    return { first, end, blocksPerCell, columns, rows, cellPixels, cellCount };
  }

  #fitting(cellPixels: number): number {
    return Math.floor(this.#width / cellPixels) * Math.floor(this.#height / cellPixels);
  }
}
