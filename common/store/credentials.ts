/**
 * Credentials for an object store from where every tool takes them, in this order: the environment, the files
 * in ~/.aws, the container's agent, the role of the instance (its metadata service, version 2).
 */
import { readFile } from 'node:fs/promises';
import { systemClock } from '../clock.ts';
import { TransferError, reasonOf } from '../errors.ts';
import { SingleFlight } from '../single-flight.ts';
import type { Environment, Profile } from './aws-profile.ts';

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | undefined;
  /** When they end, in milliseconds since 1970. */
  readonly expiresAtMs: number;
}

export type CredentialSource = () => Promise<Credentials>;

const INSTANCE = 'http://169.254.169.254';
const CONTAINER = 'http://169.254.170.2';
/** A machine without such a service does not answer at all. */
const METADATA_TIMEOUT_MS = 1000;
/** New ones are asked for this long before the old ones end. */
const EARLY_MS = 5 * 60_000;
/** What a service that is away for a while may be asked again for. */
const TOKEN_SECONDS = 21_600;

/** What this machine has; asked again where they end. @throws TransferError `usage`. */
export function credentialSource(environment: Environment, profile: Profile): CredentialSource {
  let last: Credentials | undefined;
  const find = new SingleFlight(async () => await findCredentials(environment, profile));
  return async () => {
    if (last === undefined || systemClock.wallMs() > last.expiresAtMs - EARLY_MS) {
      try {
        last = await find.run();
      } catch (error) {
        // Those that have not ended yet still serve.
        if (last === undefined || systemClock.wallMs() > last.expiresAtMs) throw error;
      }
    }
    return last;
  };
}

async function findCredentials(environment: Environment, profile: Profile): Promise<Credentials> {
  const named = (environment['AWS_PROFILE'] ?? '') !== '';
  const inEnvironment = fixed({
    accessKeyId: environment['AWS_ACCESS_KEY_ID'],
    secretAccessKey: environment['AWS_SECRET_ACCESS_KEY'],
    sessionToken: environment['AWS_SESSION_TOKEN'],
  });
  if (inEnvironment !== undefined) return inEnvironment;
  const inFiles = fixed({
    accessKeyId: profile['aws_access_key_id'],
    secretAccessKey: profile['aws_secret_access_key'],
    sessionToken: profile['aws_session_token'],
  });
  if (inFiles !== undefined) return inFiles;
  const hint =
    'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile in ~/.aws/credentials';
  if (named) {
    const what = `the profile ${environment['AWS_PROFILE']} has no aws_access_key_id`;
    throw new TransferError('usage', what, { hint });
  }
  const ofContainer = await ofContainerAgent(environment);
  if (ofContainer !== undefined) return ofContainer;
  const ofInstance =
    environment['AWS_EC2_METADATA_DISABLED'] === 'true' ? 'it is switched off' : await ofInstanceRole();
  if (typeof ofInstance !== 'string') return ofInstance;
  const where = `the environment, ~/.aws, the role of this machine (${ofInstance})`;
  throw new TransferError('usage', `there are no credentials for the object store: not in ${where}`, {
    hint,
  });
}

type Found = Partial<Record<'accessKeyId' | 'secretAccessKey' | 'sessionToken', string | undefined>>;

function fixed({ accessKeyId, secretAccessKey, sessionToken }: Found): Credentials | undefined {
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined;
  if (accessKeyId === '' || secretAccessKey === '') return undefined;
  const token = sessionToken === '' ? undefined : sessionToken;
  return { accessKeyId, secretAccessKey, sessionToken: token, expiresAtMs: Infinity };
}

/** @throws TransferError `usage` where one is named and does not answer. */
async function ofContainerAgent(environment: Environment): Promise<Credentials | undefined> {
  const relative = environment['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI'];
  const url =
    relative === undefined ? environment['AWS_CONTAINER_CREDENTIALS_FULL_URI'] : CONTAINER + relative;
  if (url === undefined || url === '') return undefined;
  try {
    const file = environment['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE'];
    const token =
      file === undefined
        ? environment['AWS_CONTAINER_AUTHORIZATION_TOKEN']
        : (await readFile(file, 'utf8')).trim();
    const text = await ask(url, { headers: token === undefined ? {} : { authorization: token } });
    return parseCredentials(text);
  } catch (error) {
    const what = `cannot get credentials from ${url}: ${reasonOf(error)}`;
    throw new TransferError('usage', what, { cause: error });
  }
}

/** @returns why there are none. */
async function ofInstanceRole(): Promise<Credentials | string> {
  try {
    const life = { 'x-aws-ec2-metadata-token-ttl-seconds': String(TOKEN_SECONDS) };
    const token = await ask(`${INSTANCE}/latest/api/token`, { method: 'PUT', headers: life });
    const headers = { 'x-aws-ec2-metadata-token': token };
    const url = `${INSTANCE}/latest/meta-data/iam/security-credentials/`;
    const [role = ''] = (await ask(url, { headers })).split('\n');
    return parseCredentials(await ask(url + encodeURIComponent(role.trim()), { headers }));
  } catch (error) {
    return reasonOf(error);
  }
}

async function ask(
  url: string,
  request: { method?: string; headers: Readonly<Record<string, string>> },
): Promise<string> {
  const signal = AbortSignal.timeout(METADATA_TIMEOUT_MS);
  const response = await fetch(url, { ...request, signal, redirect: 'error' });
  if (!response.ok) throw new Error(`it answered with ${response.status}`);
  return await response.text();
}

/** @throws Error. */
export function parseCredentials(text: string): Credentials {
  const found: unknown = JSON.parse(text);
  const member = (name: string): string | undefined => {
    const value: unknown = typeof found === 'object' && found !== null ? Reflect.get(found, name) : undefined;
    return typeof value === 'string' ? value : undefined;
  };
  const credentials = fixed({
    accessKeyId: member('AccessKeyId'),
    secretAccessKey: member('SecretAccessKey'),
    sessionToken: member('Token'),
  });
  if (credentials === undefined) throw new Error('there are no keys in its answer');
  const expiration = Date.parse(member('Expiration') ?? '');
  return { ...credentials, expiresAtMs: Number.isNaN(expiration) ? Infinity : expiration };
}
