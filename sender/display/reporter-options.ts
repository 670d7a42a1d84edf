/** What a reporter writes to, and who else is shown the same. */
import type { Clock } from '../../common/clock.ts';
import type { LiveArea } from '../../common/io/live-area.ts';
import type { TerminalTitle } from '../../common/io/terminal-title.ts';
import type { BarStyle } from './live-line.ts';
import type { ReporterWatch } from './reporter-watch.ts';
import type { TroubleOptions } from './trouble.ts';

export type ProgressFormat = 'tty' | 'plain' | 'json' | 'none';

export interface ReporterOptions {
  readonly format: ProgressFormat;
  readonly isTerminal: boolean;
  readonly clock: Clock;
  readonly writeOut: (text: string) => void;
  readonly writeErr: (text: string) => void;
  /** For the format `tty`; everything else for people goes through the area too. */
  readonly live?: { readonly area: LiveArea; readonly style: BarStyle; readonly title?: TerminalTitle };
  /** Is shown the same, whatever the format. */
  readonly watch?: ReporterWatch | undefined;
  /** Who is called in trouble. */
  readonly trouble?: TroubleOptions | undefined;
}
