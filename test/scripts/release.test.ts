/** `npm run release`, in a small repository of its own. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { unlessInstalled } from '../support/requires.ts';
import { run, runOk, type Ended } from '../support/run.ts';
import { tempDir, type TempDir } from '../support/temp-dir.ts';

const PROJECT = resolve(import.meta.dirname, '../..');
const VERSION_FILE = 'common/protocol/version.ts';
const skip = unlessInstalled('git');
const who = { NAME: 'A Tester', EMAIL: 'tester@example.org' };
const env = {
  ...process.env,
  NODE_TEST_CONTEXT: undefined,
  GIT_CONFIG_GLOBAL: '/dev/null',
  ...Object.fromEntries(
    ['AUTHOR', 'COMMITTER'].flatMap((role) =>
      Object.entries(who).map(([name, value]) => [`GIT_${role}_${name}`, value]),
    ),
  ),
};
const CHANGELOG = '# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-02-28\n\n### Added\n\n- Wings.\n';

function filesOf(version: string): Record<string, string> {
  const lockfile = { version, packages: { '': { version } } };
  return {
    'package.json': JSON.stringify({ name: 'dd-transfer', version, scripts: { test: 'true' } }),
    'package-lock.json': JSON.stringify(lockfile),
    [VERSION_FILE]: `/** A comment. */\nexport const VERSION = '${version}';\n`,
    'CHANGELOG.md': CHANGELOG,
  };
}

async function git(folder: string, ...args: readonly string[]): Promise<string> {
  return await runOk('git', args, { cwd: folder, env });
}

/** A clean repository that is ready for the release of 1.2.3, but for the files given. */
async function makeRepository(files: Record<string, string> = {}): Promise<TempDir> {
  const folder = await tempDir();
  await mkdir(join(folder.path, 'common/protocol'), { recursive: true });
  for (const [path, text] of Object.entries({ ...filesOf('1.2.3'), ...files })) {
    await writeFile(join(folder.path, path), text);
  }
  await git(folder.path, 'init', '--quiet');
  await git(folder.path, 'add', '.');
  await git(folder.path, 'commit', '--quiet', '--message', 'everything');
  return folder;
}

async function release(folder: string, ...args: readonly string[]): Promise<Ended> {
  const command = [join(PROJECT, 'scripts/release.ts'), ...args];
  return await run(process.execPath, command, { cwd: folder, env });
}

test('a release is an annotated tag with the section of the changelog', { skip }, async () => {
  await using folder = await makeRepository();
  const { status, stdout, stderr } = await release(folder.path);
  assert.deepEqual([status, stderr], [0, '']);
  assert.match(stdout, /^tagged v1\.2\.3; to publish it: git push origin v1\.2\.3$/m);
  const tag = await git(folder.path, 'cat-file', 'tag', 'v1.2.3');
  assert.match(tag, /^tag v1\.2\.3\n.*\n\ndd-transfer 1\.2\.3\n\n### Added\n\n- Wings\.\n$/ms);
  const again = await release(folder.path);
  assert.equal(again.status, 4);
  assert.match(again.stderr, /^release: error: the tag v1\.2\.3 already exists: raise the version$/m);
});

test('a dry run checks everything, and tags nothing', { skip }, async () => {
  await using folder = await makeRepository();
  const { status, stdout } = await release(folder.path, '--dry-run');
  assert.deepEqual([status, stdout], [0, 'npm test\nv1.2.3 can be tagged (dry run)\n']);
  assert.equal(await git(folder.path, 'tag'), '');
});

for (const [what, files, message] of [
  [
    'another version in the code',
    { [VERSION_FILE]: "export const VERSION = '1.2.2';\n" },
    /version\.ts has version 1\.2\.2, package\.json has 1\.2\.3/,
  ],
  [
    'another version in the lockfile',
    { 'package-lock.json': '{"version":"1.2.2"}' },
    /package-lock\.json has version 1\.2\.2/,
  ],
  [
    'no section in the changelog',
    { 'CHANGELOG.md': '## [1.2.2] - 2026-02-28\n\n- Old.\n' },
    /CHANGELOG\.md has no section with the heading ## \[1\.2\.3\] - /,
  ],
  ['no date in the changelog', { 'CHANGELOG.md': '## [1.2.3]\n\n- New.\n' }, /CHANGELOG\.md has no section/],
  [
    'a date that does not exist',
    { 'CHANGELOG.md': '## [1.2.3] - 2026-02-30\n\n- New.\n' },
    /CHANGELOG\.md has no section/,
  ],
  [
    'an empty section',
    { 'CHANGELOG.md': '## [1.2.3] - 2026-02-28\n\n## [1.2.2] - 2026-02-27\n' },
    /CHANGELOG\.md says nothing about 1\.2\.3/,
  ],
  [
    'entries that are not released',
    { 'CHANGELOG.md': CHANGELOG.replace('[Unreleased]\n', '[Unreleased]\n\n- More.\n') },
    /CHANGELOG\.md has entries under \[Unreleased\]/,
  ],
  [
    'a failing test',
    { 'package.json': '{"version":"1.2.3","scripts":{"test":"echo broken wing; false"}}' },
    /broken wing[^]*the tests fail: v1\.2\.3 was not tagged/,
  ],
] as const) {
  test(`there is no release with ${what}`, { skip }, async () => {
    await using folder = await makeRepository(files);
    const { status, stderr } = await release(folder.path);
    assert.equal(status, 4, stderr);
    assert.match(stderr, message);
    assert.equal(await git(folder.path, 'tag'), '');
  });
}

test('there is no release with uncommitted changes', { skip }, async () => {
  await using folder = await makeRepository();
  await writeFile(join(folder.path, 'new'), '');
  const { status, stderr } = await release(folder.path);
  assert.equal(status, 4);
  assert.match(stderr, /the working tree has 1 uncommitted changes\nrelease: hint: git status\n/);
});

test('this project has one version', async () => {
  const { version } = JSON.parse(await readFile(join(PROJECT, 'package.json'), 'utf8')) as {
    version: string;
  };
  const lockfile = JSON.parse(await readFile(join(PROJECT, 'package-lock.json'), 'utf8')) as {
    version: string;
    packages: { '': { version: string } };
  };
  const code = await readFile(join(PROJECT, VERSION_FILE), 'utf8');
  assert.deepEqual([lockfile.version, lockfile.packages[''].version], [version, version]);
  assert(code.includes(`const VERSION = '${version}';`));
});
