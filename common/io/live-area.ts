/** Lines at the bottom of a terminal that are redrawn; messages scroll above them. */
import type { WriteStream } from 'node:tty';
import { createLogUpdate } from 'log-update';

/** For terminals that do not say, as on serial lines. */
const COLUMNS_DEFAULT = 80;
/** Up by one row and erase it (ECMA-48 CPL and EL). */
const ERASE_ROW_ABOVE = '\x1B[F\x1B[2K';

/** Called with the width of the moment, and again when that changes. */
export type Draw = (columns: number) => readonly string[];

export interface LiveArea {
  draw(draw: Draw): void;
  /** Whole lines, which stay. */
  print(text: string): void;
  /** The last state stays on the terminal. */
  end(): void;
}

/**
 * Lines must be narrower than the terminal. The cursor is never hidden: a terminal whose process was killed
 * would stay without one.
 */
export class TerminalArea implements LiveArea {
  readonly #stream: WriteStream;
  readonly #write: (text: string) => void;
  readonly #update: ReturnType<typeof createLogUpdate>;
  #draw: Draw | undefined;
  #lines: readonly string[] = [];
  readonly #onResize = (): void => this.#afterResize();
  readonly #onContinue = (): void => this.#redrawBelow();

  /** @param write to the terminal, without waiting for it. */
  constructor(stream: WriteStream, write: (text: string) => void) {
    this.#stream = stream;
    this.#write = write;
    const screen = {
      // Some terminals do not know: 0.
      get columns() {
        return stream.columns > 0 ? stream.columns : COLUMNS_DEFAULT;
      },
      get rows() {
        return stream.rows;
      },
      isTTY: stream.isTTY,
      write,
    };
    // It asks for no more of a stream.
    this.#update = createLogUpdate(screen as unknown as WriteStream, { showCursor: true });
  }

  draw(draw: Draw): void {
    if (this.#draw === undefined) {
      this.#stream.on('resize', this.#onResize);
      // While the process was stopped (Ctrl-Z), the shell has written below the area.
      process.on('SIGCONT', this.#onContinue);
    }
    this.#draw = draw;
    this.#redraw();
  }

  print(text: string): void {
    if (this.#draw === undefined) {
      this.#write(text);
      return;
    }
    this.#update.clear();
    this.#write(text);
    this.#redraw();
  }

  end(): void {
    if (this.#draw === undefined) return;
    this.#stream.off('resize', this.#onResize);
    process.off('SIGCONT', this.#onContinue);
    this.#lines = this.#draw(this.#columns);
    this.#draw = undefined;
    // This also erases the ^C that the terminal has echoed.
    this.#update.persist(this.#lines.join('\n'));
  }

  get #columns(): number {
    return this.#stream.columns > 0 ? this.#stream.columns : COLUMNS_DEFAULT;
  }

  #redraw(): void {
    if (this.#draw === undefined) return;
    this.#lines = this.#draw(this.#columns);
    this.#update(this.#lines.join('\n'));
  }

  /**
   * A terminal that became narrower has wrapped the lines that were there (tmux, VTE, kitty, Konsole and
   * others do), so there are more rows to erase than were drawn.
   */
  #afterResize(): void {
    const columns = this.#columns;
    const rows = this.#lines.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / columns)), 0);
    if (rows > this.#lines.length) {
      this.#write(ERASE_ROW_ABOVE.repeat(rows));
      this.#update.done();
    }
    this.#redraw();
  }

  #redrawBelow(): void {
    this.#update.done();
    this.#redraw();
  }
}
