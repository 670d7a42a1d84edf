/** What ddt-receive takes for copies in an object store. No I/O. */
import { TransferError } from '../common/errors.ts';
import { isStoreName, parseStoreName } from '../common/store/store-name.ts';
import type { ReceiveOptions } from './cli.ts';

type StoreOptions = Pick<ReceiveOptions, 'targets' | 'format' | 's3Endpoint' | 'isUpdate' | 'isAdoption'>;

/** @throws TransferError `usage` for what means nothing there. */
export function refuseForStores({ targets, format, s3Endpoint, isUpdate, isAdoption }: StoreOptions): void {
  const names = targets.filter((target) => isStoreName(target));
  const [first] = names;
  if (first === undefined) {
    if (s3Endpoint === undefined) return;
    throw new TransferError('usage', '--s3-endpoint is only for a target like s3://bucket/prefix#web1');
  }
  const { store } = parseStoreName(first);
  const stores = new Set(names.map((name) => parseStoreName(name).store));
  if (stores.size > 1 || names.length < targets.length) {
    throw new TransferError('usage', `only copies in ${store} can be served beside ${first}`, {
      hint: 'the keys of its receivers are in that store: start another ddt-receive, on a port of its own',
    });
  }
  const dated = names.find((name) => parseStoreName(name).when !== undefined);
  if (dated !== undefined) {
    const { copy } = parseStoreName(dated);
    throw new TransferError('usage', `cannot write to ${dated}: that copy is sealed`, {
      hint: `a new one is ${store}#${copy}`,
    });
  }
  const option = isUpdate ? '--update' : isAdoption ? '--adopt' : undefined;
  if (option !== undefined) {
    throw new TransferError('usage', `${option} cannot be combined with ${first}`, {
      hint: 'leave it out: each run makes a copy of its own, and sends only what the store does not have',
    });
  }
  if (format !== 'auto') {
    throw new TransferError('usage', `--format ${format} cannot be combined with ${first}`, {
      hint: 'it is for files that hold an image; leave it out',
    });
  }
}
