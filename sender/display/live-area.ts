/** The lines at the bottom of a terminal that are drawn again and again; messages scroll above them. */
import type { WriteStream } from 'node:tty';
import { createLogUpdate } from 'log-update';

/** Where the terminal does not say, as on serial lines. */
const COLUMNS_DEFAULT = 80;
/** Up by one row, which is emptied (ECMA-48 CPL and EL). */
const ERASE_ROW_ABOVE = '\x1B[F\x1B[2K';

/** What is to be drawn depends on the width at that moment. */
export type Draw = (columns: number) => readonly string[];

export interface LiveArea {
  draw(draw: Draw): void;
  /** Whole lines, which stay. */
  print(text: string): void;
  /** The last state stays; from then on nothing is drawn. */
  end(): void;
}

/**
 * The cursor is not hidden, so that a terminal whose process was killed or stopped has one. Lines must be
 * narrower than the terminal.
 */
export class TerminalArea implements LiveArea {
  readonly #stream: WriteStream;
  readonly #update: ReturnType<typeof createLogUpdate>;
  #draw: Draw | undefined;
  #lines: readonly string[] = [];
  readonly #onResize = (): void => this.#afterResize();
  readonly #onContinue = (): void => this.#anew();

  constructor(stream: WriteStream) {
    this.#stream = stream;
    this.#update = createLogUpdate(stream, { showCursor: true });
  }

  draw(draw: Draw): void {
    if (this.#draw === undefined) {
      this.#stream.on('resize', this.#onResize);
      // The shell has written below the area while the process was stopped (Ctrl-Z).
      process.on('SIGCONT', this.#onContinue);
    }
    this.#draw = draw;
    this.#redraw();
  }

  print(text: string): void {
    if (this.#draw === undefined) {
      this.#stream.write(text);
      return;
    }
    this.#update.clear();
    this.#stream.write(text);
    this.#redraw();
  }

  end(): void {
    if (this.#draw === undefined) return;
    this.#stream.off('resize', this.#onResize);
    process.off('SIGCONT', this.#onContinue);
    this.#lines = this.#draw(this.#columns);
    this.#draw = undefined;
    // Erases, too, the ^C that the terminal has echoed.
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
   * A terminal that became narrower has folded the lines that were there (tmux, VTE, kitty, Konsole and
   * others do): more rows are to be erased than were drawn.
   */
  #afterResize(): void {
    const columns = this.#columns;
    const rows = this.#lines.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / columns)), 0);
    if (rows > this.#lines.length) {
      this.#stream.write(ERASE_ROW_ABOVE.repeat(rows));
      this.#update.done();
    }
    this.#redraw();
  }

  #anew(): void {
    this.#update.done();
    this.#redraw();
  }
}

/**
 * Whether lines can be drawn over: not in a file or a pipe, and not on a terminal that knows no cursor
 * movements.
 */
export function canDrawOn(stream: { readonly isTTY?: boolean }, term: string | undefined): boolean {
  return stream.isTTY === true && term !== undefined && term !== '' && term !== 'dumb';
}

/**
 * Whether a bar of block characters will be seen as one (locale(7); the console's font lacks most of them).
 */
export function hasBlockCharacters(environment: NodeJS.ProcessEnv): boolean {
  const locale = environment['LC_ALL'] || environment['LC_CTYPE'] || environment['LANG'] || '';
  return /utf-?8/i.test(locale) && environment['TERM'] !== 'linux';
}
