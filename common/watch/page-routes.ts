/** The page as routes: public, for its files say nothing about any copy. */
import { readPageFiles } from './page-files.ts';
import type { WatchRoute } from './watch-server.ts';

/**
 * They are read now: what comes later may have no right to.
 * @param home what `/` is: the page of a copy, or that of a fleet.
 */
export async function pageRoutes(home: '/' | '/fleet.html' = '/'): Promise<WatchRoute[]> {
  const files = await readPageFiles();
  const others = files.filter(({ path }) => path !== '/' && path !== '/fleet.html');
  const page = files.filter(({ path }) => path === home).map((file) => ({ ...file, path: '/' }));
  return [...page, ...others].map(({ path, type, text }) => ({
    path,
    isPublic: true,
    answer: () => ({ type, body: text }),
  }));
}
