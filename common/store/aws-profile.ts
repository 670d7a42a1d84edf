/** The files in ~/.aws, as the tools of Amazon read them: sections with `name = value`. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { TransferError, errnoOf, reasonOf } from '../errors.ts';

export type Environment = Readonly<Record<string, string | undefined>>;
export type Profile = Readonly<Record<string, string>>;

/**
 * What both files say of the profile in AWS_PROFILE, or of `default`; the one with credentials wins.
 * @throws TransferError `usage` for a profile that is named and in neither, or a file that can't be read.
 */
export async function readProfile(environment: Environment): Promise<Profile> {
  const folder = join(environment['HOME'] ?? homedir(), '.aws');
  const named = environment['AWS_PROFILE'];
  const name = named === undefined || named === '' ? 'default' : named;
  const configFile = environment['AWS_CONFIG_FILE'] ?? join(folder, 'config');
  const credentialsFile = environment['AWS_SHARED_CREDENTIALS_FILE'] ?? join(folder, 'credentials');
  const config = parseSections(await readText(configFile));
  const credentials = parseSections(await readText(credentialsFile));
  const fromConfig = config.get(`profile ${name}`) ?? config.get(name);
  const fromCredentials = credentials.get(name);
  if (fromConfig === undefined && fromCredentials === undefined && named !== undefined && named !== '') {
    throw new TransferError('usage', `there is no profile ${name} in ${credentialsFile} and ${configFile}`, {
      hint: 'AWS_PROFILE names it: change or unset it',
    });
  }
  return { ...fromConfig, ...fromCredentials };
}

/** Lines that begin with a space belong to the value before, which none of those needed here has. */
export function parseSections(text: string): ReadonlyMap<string, Profile> {
  const sections = new Map<string, Record<string, string>>();
  let section: Record<string, string> | undefined;
  for (const line of text.split(/\r?\n/)) {
    const title = /^\[\s*(.*?)\s*\]/.exec(line)?.[1]?.replace(/\s+/g, ' ');
    const [, name, value] = /^([\w.-]+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (title !== undefined) {
      section = sections.get(title) ?? {};
      sections.set(title, section);
    } else if (section !== undefined && name !== undefined && value !== undefined) {
      section[name.toLowerCase()] = value;
    }
  }
  return sections;
}

async function readText(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch((error: unknown) => {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return '';
    throw new TransferError('usage', `cannot read ${path}: ${reasonOf(error)}`, { cause: error });
  });
}
