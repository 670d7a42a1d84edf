/** What ddt-receive takes for the copies in an object store: `--list`, `--check`, `--forget`. No I/O. */
import type { Command } from 'commander';
import { TransferError } from '../common/errors.ts';
import { isStoreName, parseStoreName, type StoreName } from '../common/store/store-name.ts';

export interface StoreCommandOptions {
  readonly named: StoreName;
  /** undefined: as the environment says. */
  readonly endpoint: string | undefined;
  readonly isJson: boolean;
  /** The question before copies are given up is answered. */
  readonly isConfirmed: boolean;
}

export interface StoreCommand {
  readonly kind: 'list-store' | 'check-store' | 'forget';
  readonly options: StoreCommandOptions;
}

export function isStoreCommand(command: { readonly kind: string }): command is StoreCommand {
  return ['list-store', 'check-store', 'forget'].includes(command.kind);
}

/** Of the two options below, which name a store themselves. */
const EXAMPLE = 's3://bucket/disks#web1';

/** @returns the command. */
export function addStoreOptions(command: Command): Command {
  return command
    .option('--check <store>', 'read all chunks of the copies in s3://bucket/prefix[#name[@time]]')
    .option('--forget <store>', 'give up s3://bucket/prefix#name[@time], delete unused chunks');
}

/**
 * @param refuseOthers refuses the words and options that mean nothing beside this one.
 * @returns undefined: the command is another one. @throws TransferError `usage`.
 */
export function readStoreCommand(
  command: Command,
  refuseOthers: (name: string, allowed: readonly string[], word?: string) => void,
): StoreCommand | undefined {
  const raw = command.opts<Record<string, string | boolean | undefined>>();
  const [word, ...more] = command.args;
  const { check, forget, s3Endpoint: endpoint } = raw;
  const options = (text: string): StoreCommandOptions => ({
    named: readStore(text),
    endpoint: typeof endpoint === 'string' ? endpoint : undefined,
    isJson: raw['log'] === 'json',
    isConfirmed: raw['yes'] === true,
  });
  if (raw['list'] === true && isStoreName(word ?? '')) {
    refuseOthers('list', ['list', 'log', 's3Endpoint'], more[0]);
    return { kind: 'list-store', options: options(word ?? '') };
  }
  if (typeof check === 'string') {
    refuseOthers('check', ['check', 's3Endpoint'], word);
    return { kind: 'check-store', options: options(check) };
  }
  if (typeof forget === 'string') {
    refuseOthers('forget', ['forget', 's3Endpoint', 'yes'], word);
    return { kind: 'forget', options: options(forget) };
  }
  return undefined;
}

function readStore(text: string): StoreName {
  if (isStoreName(text)) return parseStoreName(text);
  throw new TransferError('usage', `'${text}' is not an object store`, {
    hint: `for example ${EXAMPLE}; to compare a disk with its receipt: --check-receipt`,
  });
}
