/** `/events`: objects as they come, one JSON object a line, to all who read them. */
import type { Clock } from '../clock.ts';
import type { WatchRoute } from './watch-server.ts';

/** Some come each second. A client that is so far behind is cut: it would miss some and not know. */
const BEHIND_MAX = 100;
const GRACE_STEP_MS = 20;

interface Reader {
  readonly lines: string[];
  wake: () => void;
  isBehind: boolean;
}

export class EventStream {
  readonly #readers = new Set<Reader>();
  #last: string | undefined;
  #isOver = false;

  /** @param event as `--progress json` writes it. */
  add(event: Readonly<Record<string, unknown>>): void {
    this.#last = `${JSON.stringify(event)}\n`;
    for (const reader of this.#readers) {
      if (reader.lines.length < BEHIND_MAX) reader.lines.push(this.#last);
      else reader.isBehind = true;
      reader.wake();
    }
  }

  get routes(): readonly WatchRoute[] {
    return [{ path: '/events', answer: () => ({ type: 'application/x-ndjson', body: this.#read() }) }];
  }

  /** Nothing comes any more. @param graceMs for those who have not read all of it. */
  async finish(graceMs: number, clock: Clock): Promise<void> {
    this.#isOver = true;
    for (const reader of this.#readers) reader.wake();
    for (let leftMs = graceMs; leftMs > 0 && this.#readers.size > 0; leftMs -= GRACE_STEP_MS)
      await clock.sleep(GRACE_STEP_MS);
  }

  /** Begins with the last one: who comes later need not wait to know how far it is. */
  async *#read(): AsyncGenerator<string> {
    const reader: Reader = {
      lines: this.#last === undefined ? [] : [this.#last],
      wake: () => {},
      isBehind: false,
    };
    this.#readers.add(reader);
    try {
      for (;;) {
        yield* reader.lines.splice(0);
        if (reader.isBehind) return;
        if (reader.lines.length > 0) continue;
        if (this.#isOver) return;
        await new Promise<void>((resolve) => (reader.wake = resolve));
      }
    } finally {
      this.#readers.delete(reader);
    }
  }
}
