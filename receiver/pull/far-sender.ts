/** A ddt-send on the machine of the source, for as long as its login lasts: it is fed, and shown here. */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import {
  BEAT_MS,
  isTexts,
  pullLine,
  troubleIn,
  type PullBeat,
  type PullHello,
  type PullStart,
} from '../../common/pulled-lines.ts';
import type { Trouble } from '../../common/hooks.ts';
import { parseRecord } from '../../common/records.ts';
import type { FarHost } from '../../common/ssh/far-host.ts';
import { markedScript } from '../../common/ssh/far-scripts.ts';
import type { SshClient } from '../../common/ssh/ssh-client.ts';
import { shellWord } from '../../common/text.ts';

/** It says that it was interrupted, and closes its connections. */
const END_MS_MAX = 5000;
const COMPLAINT_BYTES_MAX = 4096;
const PORT_MAX = 65_535;
/** More than a sender writes: memory is not for a machine that never ends its line. */
const LINE_BYTES_MAX = 1024 * 1024;

export interface FarSenderEvents {
  /** Text of the sender, in whole lines. */
  onOut(text: string): void;
  onErr(text: string): void;
  onLive(lines: readonly string[] | null): void;
  /** What people should know of. */
  onTrouble(trouble: Trouble): void;
  /** What there is to say at the end. */
  onLastWord(word: Trouble): void;
  /** Connections are wanted at this port there. */
  onPort(port: number, connections: number): void;
}

export interface FarSenderOptions {
  readonly ssh: SshClient;
  readonly host: FarHost;
  /** Of ddt-send, with the source. */
  readonly words: readonly string[];
  readonly hello: PullHello;
}

export class FarSender {
  /** Whether the source was shown; false: it has ended before. */
  readonly ready: Promise<boolean>;
  /** The exit status, also that of ssh; undefined: ssh was killed. Never rejects. */
  readonly ended: Promise<number | undefined>;
  readonly #child: ChildProcess;
  readonly #events: FarSenderEvents;
  readonly #ready = Promise.withResolvers<boolean>();
  readonly #beat: NodeJS.Timeout;
  #complaint = '';
  #isEnding = false;
  #hasPort = false;

  constructor({ ssh, host, words, hello }: FarSenderOptions, events: FarSenderEvents) {
    this.#events = events;
    const mark = `ddt-${randomBytes(12).toString('hex')}`;
    const command = [host.command, '--pulled', ...words.map((word) => shellWord(word))].join(' ');
    const child = ssh.start(markedScript(command, mark), host.isBySudo);
    this.#child = child;
    this.#beat = setInterval(() => this.say({}), BEAT_MS);
    this.ready = this.#ready.promise;
    this.ended = new Promise((resolve) => {
      child.once('error', (error) => (this.#complaint = error.message));
      child.once('close', (status) => {
        clearInterval(this.#beat);
        this.#ready.resolve(false);
        resolve(status ?? undefined);
      });
    });
    this.#read(mark);
    this.say(hello);
  }

  /** What ssh, or the program there, has said besides, in whole lines. */
  get complaint(): string {
    return this.#complaint;
  }

  say(line: PullHello | PullStart | PullBeat): void {
    this.#child.stdin?.write(pullLine(line));
  }

  /** Asks it to end. @returns as {@link ended}. */
  async end(): Promise<number | undefined> {
    // Nobody needs to read that it was interrupted.
    this.#isEnding = true;
    this.#child.stdin?.end();
    const timer = setTimeout(() => this.#child.kill(), END_MS_MAX);
    const status = await this.ended;
    clearTimeout(timer);
    return status;
  }

  #read(mark: string): void {
    const [out, err] = [this.#child.stdout, this.#child.stderr];
    if (out === null || err === null) throw new Error('its outputs are pipes');
    let isBegun = false;
    let lineBytes = 0;
    out.on('data', (chunk: Buffer) => {
      const end = chunk.lastIndexOf('\n');
      lineBytes = end < 0 ? lineBytes + chunk.length : chunk.length - end - 1;
      if (lineBytes > LINE_BYTES_MAX) this.#child.kill();
    });
    createInterface({ input: out }).on('line', (line) => {
      if (isBegun) this.#take(line);
      // What a login shell prints comes before it.
      else isBegun = line === mark;
    });
    createInterface({ input: err }).on('line', (line) => {
      this.#complaint = `${this.#complaint}${line}\n`.slice(-COMPLAINT_BYTES_MAX);
    });
  }

  #take(line: string): void {
    const { ready, port, connections, out, err, live, ...said } = parseRecord(line) ?? {};
    if (ready === true) this.#ready.resolve(true);
    if (isPort(port) && typeof connections === 'number' && !this.#hasPort) {
      // More than once, it would be given more logins than it needs.
      this.#hasPort = true;
      this.#events.onPort(port, connections);
    }
    if (typeof out === 'string') this.#events.onOut(out);
    if (typeof err === 'string' && !this.#isEnding) this.#events.onErr(err);
    if (live === null || isTexts(live)) this.#events.onLive(live);
    const [trouble, end] = [troubleIn(said['trouble']), troubleIn(said['end'])];
    if (trouble !== undefined) this.#events.onTrouble(trouble);
    if (end !== undefined) this.#events.onLastWord(end);
  }
}

function isPort(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) > 0 && Number(value) <= PORT_MAX;
}
