/** The stream of one copy, from the program that serves this page; again when it breaks. */
import { FrameReader, FRAME_BLOCKS, FRAME_STATUS } from '../watch-frames.ts';
import type { WatchBlock, WatchUpdate } from '../watch-status.ts';

export type LinkState =
  /** Nothing has come yet. */
  | 'connecting'
  | 'live'
  /** It was live, and the program does not answer any more. */
  | 'lost'
  /** The program has said that it ends. */
  | 'ended'
  | 'no-key'
  | 'wrong-key';

export interface StreamEvents {
  readonly onState: (state: LinkState) => void;
  /** All that was known before is of an earlier connection. */
  readonly onBegin: () => void;
  readonly onUpdate: (update: WatchUpdate) => void;
  readonly onBlocks: (content: Uint8Array) => void;
  readonly onCopies: (names: readonly string[]) => void;
}

const RETRY_MS = 1000;
/** The program sends something twice a second. */
const SILENCE_MS = 10_000;

export class CopyStream {
  readonly #key: string;
  readonly #events: StreamEvents;
  #copy = 0;
  #abort = new AbortController();
  #isLast = false;
  #hasBeenLive = false;

  constructor(key: string, events: StreamEvents) {
    this.#key = key;
    this.#events = events;
  }

  /** Another one of several. */
  choose(copy: number): void {
    this.#copy = copy;
    this.#abort.abort();
  }

  /** Never ends. */
  async run(): Promise<never> {
    this.#events.onState(this.#key === '' ? 'no-key' : 'connecting');
    for (;;) {
      const copy = this.#copy;
      const isRefused = await this.#readOnce().catch(() => false);
      if (copy !== this.#copy) continue;
      if (isRefused) this.#events.onState(this.#key === '' ? 'no-key' : 'wrong-key');
      else if (this.#isLast) this.#events.onState('ended');
      else if (this.#hasBeenLive) this.#events.onState('lost');
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** @returns undefined if it is not known. */
  async block(index: number): Promise<WatchBlock | undefined> {
    const response = await this.#ask(`/copies/${this.#copy}/blocks/${index}`).catch(() => undefined);
    return response?.ok === true ? ((await response.json()) as WatchBlock) : undefined;
  }

  async #ask(path: string, signal?: AbortSignal): Promise<Response> {
    const headers = { authorization: `Bearer ${this.#key}` };
    return await fetch(path, { headers, cache: 'no-store', ...(signal === undefined ? {} : { signal }) });
  }

  /** @returns whether the key was refused. */
  async #readOnce(): Promise<boolean> {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const copies = await this.#ask('/copies', signal);
    if (copies.status === 401) return true;
    this.#events.onCopies((await copies.json()) as string[]);
    const response = await this.#ask(`/copies/${this.#copy}`, signal);
    if (!response.ok || response.body === null) return false;
    this.#isLast = false;
    this.#events.onBegin();
    const silence = setInterval(() => {
      if (performance.now() - heardMs > SILENCE_MS) this.#abort.abort();
    }, 1000);
    let heardMs = performance.now();
    try {
      const frames = new FrameReader();
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return false;
        heardMs = performance.now();
        for (const { kind, content } of frames.push(value)) this.#take(kind, content);
      }
    } finally {
      clearInterval(silence);
    }
  }

  #take(kind: number, content: Uint8Array): void {
    if (kind === FRAME_BLOCKS) this.#events.onBlocks(content);
    if (kind !== FRAME_STATUS) return;
    const update = JSON.parse(new TextDecoder().decode(content)) as WatchUpdate;
    this.#isLast = update.isLast;
    this.#hasBeenLive = true;
    this.#events.onUpdate(update);
    if (!update.isLast) this.#events.onState('live');
  }
}
