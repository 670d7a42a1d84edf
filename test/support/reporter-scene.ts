/** A reporter with recorded output, and time that the test controls. */
import type { TestContext } from 'node:test';
import type { Trouble } from '../../common/hooks.ts';
import type { Draw } from '../../common/io/live-area.ts';
import { BLOCKS_STYLE } from '../../sender/display/live-line.ts';
import type { BlockCounters, DoneFacts } from '../../sender/transfer/counters.ts';
import type { ProgressFormat } from '../../sender/display/reporter-options.ts';
import { Reporter } from '../../sender/display/reporter.ts';
import { FakeClock } from './fake-clock.ts';

const MIB = 1024 * 1024;

export interface ReporterScene extends Disposable {
  readonly reporter: Reporter;
  readonly clock: FakeClock;
  readonly counters: BlockCounters;
  readonly line: {
    connections: number;
    standstillMs?: number;
    bytesUnderWay?: number;
    bytesAcknowledged?: number;
  };
  readonly out: string[];
  readonly err: string[];
  /** Of the live area, at 100 columns: each state that was drawn. */
  readonly drawn: string[];
  /** An outage is one after five minutes. */
  readonly troubles: Trouble[];
  /** Advances the clock and the reporter's timers, a second at a time or by the fraction given. */
  pass(seconds: number): Promise<void>;
  start(): void;
}

export function reporterScene(
  context: TestContext,
  format: ProgressFormat,
  isTerminal = false,
): ReporterScene {
  context.mock.timers.enable({ apis: ['setInterval', 'setTimeout'] });
  const clock = new FakeClock();
  const counters = {
    total: 100,
    read: 0,
    durable: 0,
    verified: 0,
    sent: 0,
    copied: 0,
    skipped: 0,
    zero: 0,
    resent: 0,
  };
  const [out, err, drawn]: [string[], string[], string[]] = [[], [], []];
  const area = {
    draw: (draw: Draw) => drawn.push(draw(100).join('\n')),
    print: (text: string) => err.push(text),
    end: () => drawn.push('end'),
  };
  const troubles: Trouble[] = [];
  const line: ReporterScene['line'] = { connections: 4 };
  const reporter = new Reporter({
    format,
    isTerminal,
    clock,
    writeOut: (text) => out.push(text),
    writeErr: (text) => err.push(text),
    trouble: { afterMs: 300_000, tell: (trouble) => troubles.push(trouble) },
    ...(format === 'tty' ? { live: { area, style: BLOCKS_STYLE } } : {}),
  });
  return {
    reporter,
    clock,
    counters,
    line,
    out,
    err,
    drawn,
    troubles,
    async pass(seconds) {
      for (let leftMs = seconds * 1000; leftMs > 0; leftMs -= 1000) {
        const stepMs = Math.min(1000, leftMs);
        await clock.advance(stepMs);
        context.mock.timers.tick(stepMs);
      }
    },
    start: () =>
      reporter.start({
        counters,
        bytesTotal: 400 * MIB,
        blockSizeBytes: 4 * MIB,
        bytesUnderWay: () => line.bytesUnderWay ?? 0,
        bytesWire: () => counters.durable * 1000,
        bytesAcknowledged: () => line.bytesAcknowledged ?? counters.durable * 1000,
        look: async () => await Promise.resolve(),
        connections: () => line.connections,
        standstillMs: () => line.standstillMs,
      }),
    [Symbol.dispose]: () => reporter.stop(),
  };
}

export function factsOf(counters: BlockCounters): DoneFacts {
  const root = `sha256:${'0'.repeat(64)}`;
  return {
    counters,
    bytesTotal: 400 * MIB,
    bytesWire: 5,
    seconds: 9,
    root,
    verified: 'none',
    readBack: null,
    verifiedAt: null,
    unreadable: [],
    leftOut: null,
  };
}
