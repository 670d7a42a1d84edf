/** The project as it is where its native package could not be installed. */
import assert from 'node:assert/strict';
import { cp, mkdir, readdir, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { environment } from './processes.ts';
import { runOk } from './run.ts';
import { tempDir } from './temp-dir.ts';

const PROJECT = resolve(import.meta.dirname, '../..');
const PARTS = ['common', 'fleet', 'receiver', 'sender', 'scripts', 'package.json'];
const LEFT_OUT = '@napi-rs';

export interface ProjectWithout extends AsyncDisposable {
  /** With its commands. */
  readonly scripts: string;
}

/** A copy of what runs, whose `node_modules` has all packages but that one. */
export async function projectWithoutBlake3(): Promise<ProjectWithout> {
  const folder = await tempDir();
  for (const part of PARTS) await cp(join(PROJECT, part), join(folder.path, part), { recursive: true });
  const packages = join(folder.path, 'node_modules');
  await mkdir(packages);
  for (const name of await readdir(join(PROJECT, 'node_modules'))) {
    if (name !== LEFT_OUT) await symlink(join(PROJECT, 'node_modules', name), join(packages, name));
  }
  const digest = join(folder.path, 'common/digest/digest.ts');
  const code = `import('${digest}').then((d) => console.log(d.DIGESTS.length))`;
  const env = environment();
  const there = await runOk(process.execPath, ['-e', code], { env });
  assert.equal(there.trim(), '1', 'it is really not there');
  return { scripts: join(folder.path, 'scripts'), [Symbol.asyncDispose]: folder[Symbol.asyncDispose] };
}
