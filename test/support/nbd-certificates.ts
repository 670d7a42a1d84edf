/** Certificates as NBD's servers and clients take them: a folder with one authority and both sides' keys. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runOk } from './run.ts';

/** @param name of the server. */
export async function makeCertificates(folder: string, name: string): Promise<void> {
  await mkdir(folder);
  const at = (file: string): string => join(folder, file);
  const make = async (who: string, lines: readonly string[], how: readonly string[]): Promise<void> => {
    await writeFile(at('template'), lines.join('\n'));
    const key = at(`${who}-key.pem`);
    await runOk('certtool', ['--generate-privkey', '--key-type=ecdsa', '--outfile', key]);
    const certificate = at(`${who}-cert.pem`);
    const template = ['--load-privkey', key, '--template', at('template'), '--outfile', certificate];
    await runOk('certtool', [...how, ...template]);
  };
  await make('ca', ['cn = test', 'ca', 'cert_signing_key'], ['--generate-self-signed']);
  const signed = ['--generate-certificate', '--load-ca-certificate', at('ca-cert.pem')];
  const by = [...signed, '--load-ca-privkey', at('ca-key.pem')];
  await make('server', [`cn = ${name}`, `dns_name = ${name}`, 'tls_www_server', 'signing_key'], by);
  await make('client', ['cn = client', 'tls_www_client', 'signing_key'], by);
}
