/**
 * A sender that a ddt-receive has started through ssh: it gets its ticket from there, is shown there, and
 * ends when nobody is there any more.
 */
import { createInterface } from 'node:readline';
import { TransferError } from '../common/errors.ts';
import { parseHostPort } from '../common/host-port.ts';
import type { Draw, LiveArea } from '../common/io/live-area.ts';
import type { TextOutput } from '../common/io/terminal-output.ts';
import {
  SILENCE_MS_MAX,
  isTexts,
  pullLine,
  type PullStart,
  type PulledLine,
} from '../common/pulled-lines.ts';
import { isRecord, parseRecord } from '../common/records.ts';
import { parseTicket } from '../common/trust/ticket.ts';
import type { Outputs, Screen } from './display/make-reporter.ts';
import { ASCII_STYLE, BLOCKS_STYLE } from './display/live-line.ts';
import type { SendOptions } from './cli.ts';
import type { FarMachineParts } from './far-machine.ts';
import { PulledDial } from './ssh/pulled-dial.ts';

const COLUMNS_DEFAULT = 80;

export class Pulled {
  readonly #out: TextOutput;
  readonly #hello = Promise.withResolvers<Readonly<Record<string, unknown>>>();
  readonly #start = Promise.withResolvers<PullStart>();
  readonly #gone = Promise.withResolvers<never>();
  #screen: Screen | null = null;
  #onProgressAsked: (() => void) | undefined;
  #name = '';
  #columns = COLUMNS_DEFAULT;
  #silence: NodeJS.Timeout | undefined;

  private constructor(out: TextOutput) {
    this.#out = out;
    this.#gone.promise.catch(() => {});
    const lines = createInterface({ input: process.stdin });
    lines.on('line', (line) => this.#take(line));
    lines.once('close', () => this.#end());
    process.stdin.on('error', () => this.#end());
    this.#listen();
  }

  /** @param out standard output. @throws TransferError when nobody is at the other end of standard input. */
  static async open(out: TextOutput): Promise<Pulled> {
    const pulled = new Pulled(out);
    const { terminal } = await Promise.race([pulled.#hello.promise, pulled.#gone.promise]);
    if (isRecord(terminal)) pulled.#onScreen(terminal);
    return pulled;
  }

  /** Shown by the other side. */
  get outputs(): Outputs {
    const drain = async (): Promise<void> => await this.#out.drain();
    return {
      out: { write: (text) => this.say({ out: text }), drain },
      err: { write: (text) => this.say({ err: text }), drain },
      screen: this.#screen,
    };
  }

  /** Of the machine of the receiver. */
  get name(): string {
    return this.#name;
  }

  /** @param tell called when somebody there wants to know how far it is. */
  onProgressAsked(tell: () => void): void {
    this.#onProgressAsked = tell;
  }

  /** @param end called once, when nobody is there any more. */
  onGone(end: () => void): void {
    this.#gone.promise.catch(end);
  }

  /** Says that the source was shown. @returns what comes for that. @throws TransferError. */
  async start(): Promise<PullStart> {
    this.say({ ready: true });
    return await Promise.race([this.#start.promise, this.#gone.promise]);
  }

  /** @returns false when nobody reads, and it is dropped. */
  say(line: PulledLine): boolean {
    return this.#out.write(pullLine(line));
  }

  #onScreen({ columns, hasBlocks }: Readonly<Record<string, unknown>>): void {
    this.#resize(columns);
    this.#screen = {
      area: new DistantArea(
        (line) => void this.say(line),
        () => this.#columns,
      ),
      style: hasBlocks === true ? BLOCKS_STYLE : ASCII_STYLE,
    };
  }

  #take(line: string): void {
    const value = parseRecord(line);
    if (value === undefined) return;
    this.#listen();
    const { name, ticket, places, columns, isProgressAsked } = value;
    if (typeof name === 'string') {
      this.#name = name;
      this.#hello.resolve(value);
    }
    if (typeof ticket === 'string' && isTexts(places)) this.#start.resolve({ ticket, places });
    this.#resize(columns);
    if (isProgressAsked === true) this.#onProgressAsked?.();
  }

  #resize(columns: unknown): void {
    if (typeof columns === 'number' && columns > 0) this.#columns = columns;
  }

  /** Somebody is there; for how long, the next line shows. */
  #listen(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#end(), SILENCE_MS_MAX);
  }

  #end(): void {
    clearTimeout(this.#silence);
    const message = 'the ddt-receive that has started this ddt-send is gone';
    this.#gone.reject(new TransferError('interrupted', message));
  }
}

/** After the source was shown. @throws TransferError. */
export async function openPulled(
  pulled: Pulled,
  { connections }: Pick<SendOptions, 'connections'>,
  { unacked, reporter, signal }: Omit<FarMachineParts, 'err' | 'sourceSizesBytes'>,
): Promise<PulledDial> {
  const { ticket, places } = await pulled.start();
  return await PulledDial.open({
    ticket: parseTicket(ticket),
    places: places.map((place) => parseHostPort(place, 'the address of the receiver')),
    connections,
    unacked,
    signal,
    say: (fact) => reporter.fact(fact),
    announce: (port, count) => void pulled.say({ port, connections: count }),
  });
}

/** The live area of a terminal elsewhere. */
class DistantArea implements LiveArea {
  readonly #say: (line: PulledLine) => void;
  readonly #columns: () => number;
  #draw: Draw | undefined;

  constructor(say: (line: PulledLine) => void, columns: () => number) {
    this.#say = say;
    this.#columns = columns;
  }

  draw(draw: Draw): void {
    this.#draw = draw;
    this.#say({ live: draw(this.#columns()) });
  }

  print(text: string): void {
    this.#say({ err: text });
  }

  end(): void {
    if (this.#draw === undefined) return;
    this.draw(this.#draw);
    this.#draw = undefined;
    this.#say({ live: null });
  }
}
