/** The title of the terminal's window or tab: how far a copy is, seen from elsewhere. Put back at the end. */
import { printable } from '../text.ts';

/** xterm's control sequences: the title onto the terminal's stack, and from there (XTWINOPS 22 and 23). */
const SAVE = '\x1B[22;2t';
const RESTORE = '\x1B[23;2t';
const CHARACTERS_MAX = 100;
/** They keep a stack of titles, or ignore what they do not know. */
const TERMINALS =
  /^(xterm|tmux|rxvt|alacritty|foot|kitty|wezterm|konsole|gnome|vte|st|ghostty|contour|mlterm|putty)(-|$)/;

/** Whether the terminal has a title that can be put back: not the Linux console, nor GNU screen. */
export function hasTitle(environment: NodeJS.ProcessEnv): boolean {
  const { TERM: term = '', TMUX: tmux = '' } = environment;
  return TERMINALS.test(term) || (/^screen(-|$)/.test(term) && tmux !== '');
}

export class TerminalTitle {
  readonly #write: (text: string) => void;
  #shown: string | undefined;
  readonly #onExit = (): void => this.end();

  /** @param write to the terminal, without waiting for it. */
  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  show(title: string): void {
    if (title === this.#shown) return;
    if (this.#shown === undefined) {
      this.#write(SAVE);
      // A second Ctrl-C ends the process at once.
      process.once('exit', this.#onExit);
    }
    this.#shown = title;
    this.#write(`\x1B]2;${printable(title).slice(0, CHARACTERS_MAX)}\x1B\\`);
  }

  end(): void {
    if (this.#shown === undefined) return;
    this.#shown = undefined;
    process.off('exit', this.#onExit);
    this.#write(RESTORE);
  }
}
