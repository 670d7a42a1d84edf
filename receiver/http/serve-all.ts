/**
 * Several transfers on one port, with the same paths: the token of a request says which one it is for. Each
 * has an app of its own, which knows no other transfer: a token that gets to the wrong one is refused there.
 */
import { transferNamedBy } from './auth.ts';
import type { makeApp } from './app.ts';
import type { ServerOptions } from './server.ts';

type App = ReturnType<typeof makeApp>;

/** @param apps by the transfer's id; the first one answers requests that name none of them. */
export function serveAll(apps: ReadonlyMap<string, App>): ServerOptions['fetch'] {
  const [first] = apps.values();
  if (first === undefined) throw new Error('there is nothing to serve');
  const appFor = (authorization: string | undefined): App =>
    apps.size === 1 ? first : (apps.get(transferNamedBy(authorization) ?? '') ?? first);
  return async (request, env) => await appFor(env.incoming.headers.authorization).fetch(request, env);
}
