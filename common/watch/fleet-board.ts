/** What a page that shows a fleet is sent: text, made where it is known, and no number to work with. */

/** In the order in which the page lists them. */
export const BOARD_PHASES = ['failed', 'running', 'paused', 'unproven', 'waiting', 'complete'] as const;
export type BoardPhase = (typeof BOARD_PHASES)[number];

export interface BoardJob {
  readonly name: string;
  readonly source: string;
  readonly target: string;
  readonly phase: BoardPhase;
  /** null: not known yet. */
  readonly percent: number | null;
  /** `1 GiB of 4 GiB`. */
  readonly amount: string;
  readonly rate: string;
  readonly eta: string;
  /** Why it has failed, or what it waits for. */
  readonly note: string;
}

/** `GET /fleet`. */
export interface FleetBoard {
  /** `3 running, 12 waiting, 5 complete of 20`. */
  readonly headline: string;
  /** Of the bytes of all jobs; null: some sizes are not known. */
  readonly percent: number | null;
  readonly amount: string;
  readonly eta: string;
  /** undefined: it runs. */
  readonly status?: number;
  /** In the order of the table. */
  readonly jobs: readonly BoardJob[];
}
