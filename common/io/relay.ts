/** Standard input and output, joined to a receiver's port: for ssh servers that forward no ports. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { EXIT_STATUS, TransferError, reasonOf } from '../errors.ts';
import { formatHostPort } from '../host-port.ts';

/** @returns the exit status, when either side has ended. @throws TransferError when nothing listens there. */
export async function relay({ host, port }: { host: string; port: number }): Promise<number> {
  const socket = connect({ host, port, noDelay: true });
  try {
    await once(socket, 'connect');
  } catch (error) {
    throw new TransferError(
      'connection-failed',
      `connect failed: no receiver at ${formatHostPort(host, port)}: ${reasonOf(error)}`,
      { cause: error },
    );
  }
  const both = [pipeline(process.stdin, socket), pipeline(socket, process.stdout)];
  // Either end ends the other: a line that is open one way only carries no requests.
  await Promise.race(both.map(async (way) => await way.catch(() => {})));
  socket.destroy();
  return EXIT_STATUS.verified;
}
