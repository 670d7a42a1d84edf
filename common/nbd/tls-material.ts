/** Whom a client of an NBD server trusts, and how it proves who it is. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import { TransferError, reasonOf } from '../errors.ts';
import type { NbdTlsMaterial } from './handshake.ts';
import type { NbdTlsNames } from './nbd-uri.ts';

/** Read while there are rights to do so. @throws TransferError `usage`. */
export async function loadTls({
  serverName,
  certificatesFolder: folder,
}: NbdTlsNames): Promise<NbdTlsMaterial> {
  if (folder === undefined) {
    return { serverName, ca: getCACertificates('system'), certificate: undefined, key: undefined };
  }
  const load = async (file: string): Promise<Buffer | undefined> =>
    await readFile(join(folder, file)).catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw new TransferError('usage', `cannot read ${join(folder, file)}: ${reasonOf(error)}`, {
        cause: error,
      });
    });
  const [ca, certificate, key] = [
    await load('ca-cert.pem'),
    await load('client-cert.pem'),
    await load('client-key.pem'),
  ];
  if (ca === undefined) {
    throw new TransferError('usage', `there is no ca-cert.pem in ${folder}`, {
      hint: 'put the certificate of the authority there that has signed that of the server',
    });
  }
  return { serverName, ca: [ca.toString('latin1')], certificate, key };
}
