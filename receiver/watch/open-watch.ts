/** `--web`: what a browser, and programs that collect figures, may see of a running ddt-receive. */
import type { Clock } from '../../common/clock.ts';
import { metricsRoute } from '../../common/watch/metrics.ts';
import { pageRoutes } from '../../common/watch/page-routes.ts';
import type { WatchAddress } from '../../common/watch/watch-address.ts';
import { startWatchServer } from '../../common/watch/watch-server.ts';
import { WatchStreams } from '../../common/watch/watch-stream.ts';
import type { WatchLevel } from '../../common/watch/watch-status.ts';
import type { Log } from '../console/log.ts';
import { receiverMetrics } from './receiver-metrics.ts';
import { TargetWatch } from './target-watch.ts';

const TICK_MS = 1000;
/** Those who watch get the last state within this time; then the command ends. */
const FINISH_MS = 1000;

/** Disposing it shows the last state, and ends it. */
export interface OpenWatch extends AsyncDisposable {
  readonly url: string;
  /** Of a target, as named on the command line. */
  readonly of: (target: string) => TargetWatch | undefined;
  /** The same log, which is shown too. */
  readonly watched: (log: Log) => Log;
}

/** @throws TransferError `listen-failed`. */
export async function openWatch(
  address: WatchAddress,
  targets: readonly string[],
  clock: Clock,
): Promise<OpenWatch> {
  const watches = targets.map((target) => new TargetWatch(target, clock));
  const streams = new WatchStreams(watches, clock);
  const metrics = metricsRoute(() => receiverMetrics(watches.map(({ figures }) => figures)));
  const server = await startWatchServer(address, [...(await pageRoutes()), ...streams.routes, metrics]);
  const timer = setInterval(() => {
    for (const watch of watches) watch.tick();
  }, TICK_MS);
  timer.unref();
  const of = (target: string): TargetWatch | undefined => watches.find(({ name }) => name === target);
  return {
    url: server.url,
    of,
    watched: (log) =>
      watchedLog(log, (level, text, target) => {
        const own = target === undefined ? watches : watches.filter(({ name }) => name === target);
        for (const watch of own) watch.log.add(clock.wallMs(), level, text);
      }),
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await streams.finish(FINISH_MS);
      await server[Symbol.asyncDispose]();
    },
  };
}

type Say = (level: WatchLevel, text: string, target: string | undefined) => void;

function watchedLog(log: Log, say: Say, target?: string): Log {
  return {
    info: (message) => {
      say('info', message, target);
      log.info(message);
    },
    warning: (message, code) => {
      say('warning', message, target);
      log.warning(message, code);
    },
    audit: (message, members) => {
      say(members.action === 'refuse' ? 'warning' : 'info', message, target);
      log.audit(message, members);
    },
    bug: (error) => log.bug(error),
    of: (name) => watchedLog(log.of(name), say, name),
  };
}
