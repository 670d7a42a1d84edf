/** `--web`: what a browser, and programs that collect figures, may see of a running ddt-receive. */
import { pageRoutes } from '../../common/watch/page-files.ts';
import type { WatchAddress } from '../../common/watch/watch-address.ts';
import { startWatchServer, type WatchServer } from '../../common/watch/watch-server.ts';

/** @throws TransferError `listen-failed`. */
export async function openWatch(address: WatchAddress): Promise<WatchServer> {
  return await startWatchServer(address, [...(await pageRoutes())]);
}
