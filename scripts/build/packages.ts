/** Packages of npm for one architecture: those that are installed, or else the same versions, fetched. */
import { createHash } from 'node:crypto';
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Architecture } from '../../common/program/program.ts';
import { runTool, Failure } from '../run-script.ts';

const PROJECT = join(import.meta.dirname, '../..');
/** Survives from build to build. */
const FETCHED = join(PROJECT, '.tmp/packages');

interface LockedPackage {
  readonly version: string;
  /** `sha512-` and base64. */
  readonly integrity: string;
}

/** @returns the program of Node.js, of the version that the commands run on. */
export async function findNode(architecture: Architecture, signal: AbortSignal): Promise<string> {
  return join(await findPackage(`node-linux-${architecture}`, signal), 'bin/node');
}

export async function findBlake3Addon(architecture: Architecture, signal: AbortSignal): Promise<string> {
  const folder = await findPackage(`@napi-rs/blake-hash-linux-${architecture}-gnu`, signal);
  return join(folder, `blake.linux-${architecture}-gnu.node`);
}

/** @returns the package's folder. @throws Failure if it is not what package-lock.json says. */
async function findPackage(name: string, signal: AbortSignal): Promise<string> {
  const installed = join(PROJECT, 'node_modules', name);
  if (await isThere(installed)) return installed;
  const { version, integrity } = await lockedPackage(name);
  const folder = join(FETCHED, `${name.replace('/', '-')}-${version}`);
  if (await isThere(folder)) return join(folder, 'package');
  const unfinished = `${folder}.${process.pid}`;
  await mkdir(unfinished, { recursive: true });
  try {
    const text = await runTool(
      'npm',
      ['pack', '--json', '--pack-destination', unfinished, `${name}@${version}`],
      signal,
    );
    const [packed] = JSON.parse(text) as { filename: string }[];
    const archive = join(unfinished, packed?.filename ?? '');
    const digest = createHash('sha512')
      .update(await readFile(archive))
      .digest('base64');
    if (`sha512-${digest}` !== integrity) {
      throw new Failure(`${name}@${version} is not the package whose digest is in package-lock.json`);
    }
    await runTool('tar', ['-xzf', archive, '-C', unfinished], signal);
    await rm(archive);
    await rename(unfinished, folder);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  return join(folder, 'package');
}

async function lockedPackage(name: string): Promise<LockedPackage> {
  const text = await readFile(join(PROJECT, 'package-lock.json'), 'utf8');
  const { packages } = JSON.parse(text) as { packages: Readonly<Record<string, LockedPackage>> };
  const locked = packages[`node_modules/${name}`];
  if (locked === undefined) throw new Failure(`package-lock.json does not name ${name}`);
  return locked;
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
