/** cp and what is mounted in a container: volumes, binds, tmpfs, a read-only root; up and stopped it goes to the same files. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { imageTree } from '../helpers/images.ts';
import { archive } from '../helpers/tar.ts';

let host: Host;
let dir: string;
let vault: string;
beforeAll(async () => {
  host = await Host.create();
  dir = join(host.dir, 'here');
  vault = join(host.dir, 'vault');
  expectCreated(host, 'first');
  for (const folder of [dir, vault, join(dir, 'bound'), join(dir, 'fixed')]) mkdirSync(folder);
  writeFileSync(join(dir, 'f'), 'f\n');
  writeFileSync(join(dir, 'one'), 'one\n');
  writeFileSync(join(vault, 'secret'), 'secret\n');
});
afterEach(() => {
  host.minict('rm', '-f', 'c1');
  for (const folder of ['bound', 'fixed']) host.run(['sh', '-c', 'rm -rf "$0"/*', join(dir, folder)]);
});
afterAll(() => host.destroy());

const here = (...words: string[]) => host.run(['env', '-C', dir, MINICT, ...words]);
const inside = (script: string) => host.minict('exec', 'c1', 'sh', '-ec', script);
const done = { status: 0, stdout: '', stderr: '' };
const volumes = () => [
  ...['-v', 'data:/data', '-v', `${dir}/bound:/srv/bound`, '-v', `${dir}/fixed:/fixed:ro`],
  ...['-v', `${dir}/one:/etc/one`, '-v', '/own', '--tmpfs', '/mem'],
];

describe.each([
  ['up', []],
  ['stopped', []],
  ['stopped', ['--mounts', 'host']],
])('in a container that is %s, %j', (state, options) => {
  test('a copy goes into volumes and binds, and comes out of them', () => {
    expectCreated(host, 'c1', ...volumes(), ...options);
    writeFileSync(join(dir, 'fixed/x'), 'fixed\n');
    if (state === 'stopped') host.minict('stop', 'c1');
    for (const place of ['/data', '/srv/bound', '/own', '/srv/bound/../bound/g']) {
      expect(here('cp', 'f', `c1:${place}`), place).toEqual(done);
    }
    expect(readFileSync(join(dir, 'bound/f'), 'utf8')).toBe('f\n');
    expect(readFileSync(join(host.root, 'volumes/data/data/f'), 'utf8')).toBe('f\n');
    expect(here('cp', 'c1:/fixed/x', 'out')).toEqual(done);
    expect(readFileSync(join(dir, 'out'), 'utf8')).toBe('fixed\n');
    expect(here('cp', 'c1:/etc/one', 'out')).toEqual(done);
    expect(readFileSync(join(dir, 'out'), 'utf8')).toBe('one\n');
    expect(here('cp', 'c1:/srv', 'srv')).toEqual(done);
    expect(readdirSync(join(dir, 'srv/bound')).sort()).toEqual(['f', 'g']);
    rmSync(join(dir, 'srv'), { recursive: true });
    expectRefused(here('cp', 'f', 'c1:/fixed/'), /Read-only file system\nhint: /);
    expectRefused(here('cp', 'bound', 'c1:/fixed/new'), /it is mounted read-only/);
    expect(readdirSync(join(dir, 'fixed'))).toEqual(['x']);
    // A mount point is no file to be replaced.
    for (const file of ['one', 'hosts', 'hostname']) {
      const before = state === 'up' ? inside(`cat /etc/${file}`).stdout : '';
      expectRefused(here('cp', 'f', `c1:/etc/${file}`), /would overwrite what is mounted there/);
      if (state === 'up') expect(inside(`cat /etc/${file}`).stdout).toBe(before);
    }
    expect(readFileSync(join(dir, 'one'), 'utf8')).toBe('one\n');
    const tmpfs = here('cp', 'f', 'c1:/mem');
    if (state === 'up') expect(tmpfs).toEqual(done);
    else expectRefused(tmpfs, /cannot copy to c1:\/mem: a tmpfs is there only while the container is up/);
    host.minict('start', 'c1');
    expect(inside('cat /data/f /own/f /srv/bound/g').stdout).toBe('f\nf\nf\n');
    const exported = host.run(['sh', '-c', '"$0" export c1 | tar t', MINICT]).stdout.split('\n');
    for (const folder of ['./data/', './own/', './srv/bound/', './fixed/', './mem/']) {
      expect(exported.filter((name) => name.startsWith(folder))).toEqual([folder]);
    }
    expect(host.minict('diff', 'c1').stdout).toBe('');
    host.minict('rm', '-f', 'c1');
    expect(host.minict('volume', 'rm', 'data').status).toBe(0);
  });

  test('a symlink in a volume leads nowhere outside', () => {
    expectCreated(host, 'c1', ...volumes(), ...options);
    symlinkSync(vault, join(dir, 'bound/x'));
    mkdirSync(join(dir, 'bound/sub'));
    symlinkSync(vault, join(dir, 'bound/sub/y'));
    if (state === 'stopped') host.minict('stop', 'c1');
    for (const path of ['/srv/bound/x/secret', '/srv/bound/x/.', '/srv/bound/sub/y/', '/srv/bound/sub']) {
      here('cp', `c1:${path}`, 'came');
      here('cp', '-L', `c1:${path}`, 'came');
      here('cp', 'f', `c1:${path}`);
      const stream = archive({ name: 'y/evil', content: 'x' }, { name: 'x/evil', content: 'x' });
      host.run([MINICT, 'cp', '-', `c1:${path}`], {}, stream);
    }
    expect(host.run(['sh', '-c', 'find "$0" -type f -name secret', join(dir)]).stdout).toBe('');
    expect(readdirSync(vault)).toEqual(['secret']);
    host.run(['rm', '-rf', join(dir, 'came')]);
  });

  test('a read-only root takes nothing, its volumes do', () => {
    const rootfs = join(dir, 'rootfs');
    if (!existsSync(rootfs)) host.run(['cp', '-a', imageTree(host, 'base'), rootfs]);
    for (const root of [[], ['--rootfs', rootfs]]) {
      const points = root.length === 0 ? volumes() : ['-v', 'data:/home'];
      expectCreated(host, 'c1', '--read-only', ...root, ...points, ...options);
      if (state === 'stopped') host.minict('stop', 'c1');
      expectRefused(here('cp', 'f', 'c1:/root'), /Read-only file system\nhint: /);
      expectRefused(here('cp', 'bound', 'c1:/root/new'), /it is mounted read-only/);
      expect(here('cp', 'f', root.length === 0 ? 'c1:/data' : 'c1:/home')).toEqual(done);
      expect(here('cp', 'c1:/etc/passwd', 'out')).toEqual(done);
      expect(readFileSync(join(host.root, 'volumes/data/data/f'), 'utf8')).toBe('f\n');
      expect(existsSync(join(rootfs, 'root/f'))).toBe(false);
      host.minict('rm', '-f', 'c1');
      host.minict('volume', 'rm', 'data');
    }
  });
});

test('a bind whose source is gone', () => {
  const source = join(dir, 'going');
  mkdirSync(source);
  expectCreated(host, 'c1', '-v', `${source}:/x`);
  host.minict('stop', 'c1');
  rmSync(source, { recursive: true });
  expectRefused(
    here('cp', 'c1:/etc/passwd', 'out'),
    /cannot mount \S+going at \/x: it is not there any more\nhint: put/,
  );
});

test.each(['private', 'shared'] as const)(
  'a long copy on a host whose mounts are %s pins no other container',
  async (propagation) => {
    const other = await Host.create(propagation);
    for (const name of ['slow', 'quick']) expectCreated(other, name);
    other.minict('stop', 'slow');
    other.run(['mkfifo', join(other.dir, 'pipe')]);
    const half = archive({ name: 'a', content: 'x'.repeat(60_000) }).subarray(0, 40_000);
    writeFileSync(join(other.dir, 'half'), half);
    const script = 'exec 3<>"$1"; cat "$2" >&3; exec "$0" cp - slow:/srv <&3';
    const child = other.spawn(['sh', '-c', script, MINICT, join(other.dir, 'pipe'), join(other.dir, 'half')]);
    const isAtWork = () => existsSync(join(other.root, 'containers/slow/upper/srv/a'));
    for (let tries = 0; tries < 500 && !isAtWork(); tries += 1) await Bun.sleep(10);
    expect(isAtWork()).toBe(true);
    expect(other.minict('rm', 'quick')).toMatchObject({ status: 0, stderr: '' });
    expect(await other.linksGone(/quick-eth0/)).toBe(true);
    child.kill('SIGKILL');
    await child.exited;
    await other.destroy();
  },
);
