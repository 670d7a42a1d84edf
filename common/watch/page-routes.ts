/** The page as routes: public, for its files say nothing about any copy. */
import { readPageFiles } from './page-files.ts';
import type { WatchRoute } from './watch-server.ts';

/** They are read now: what comes later may have no right to. */
export async function pageRoutes(): Promise<WatchRoute[]> {
  const files = await readPageFiles();
  return files.map(({ path, type, text }) => ({
    path,
    isPublic: true,
    answer: () => ({ type, body: text }),
  }));
}
