/** `--web`: what a browser, and programs that collect figures, may see of a running ddt-send. */
import type { Clock } from '../../common/clock.ts';
import { metricsRoute } from '../../common/watch/metrics.ts';
import { pageRoutes } from '../../common/watch/page-routes.ts';
import type { WatchAddress } from '../../common/watch/watch-address.ts';
import { startWatchServer, type WatchServer } from '../../common/watch/watch-server.ts';
import { WatchStreams } from '../../common/watch/watch-stream.ts';
import { SenderWatch } from './sender-watch.ts';

/** Those who watch get the last state within this time; then the command ends. */
const FINISH_MS = 1000;

/** Disposing it shows the last state, and ends it. */
export interface OpenWatch extends AsyncDisposable {
  readonly url: string;
  readonly watch: SenderWatch;
}

/** @throws TransferError `listen-failed`. */
export async function openWatch(address: WatchAddress, clock: Clock): Promise<OpenWatch> {
  const watch = new SenderWatch(clock);
  const streams = new WatchStreams([watch], clock);
  const { events } = watch;
  const metrics = metricsRoute(() => watch.metrics);
  const routes = [...(await pageRoutes()), ...streams.routes, ...events.routes, metrics];
  const server: WatchServer = await startWatchServer(address, routes);
  const dispose = async (): Promise<void> => {
    await Promise.all([streams.finish(FINISH_MS), events.finish(FINISH_MS, clock)]);
    await server[Symbol.asyncDispose]();
  };
  return { url: server.url, watch, [Symbol.asyncDispose]: dispose };
}
