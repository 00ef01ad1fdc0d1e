/** How images are used: by name, tarball, folder. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { imageNames, imageTree, storeFiles } from '../helpers/images.ts';
import { archive } from '../helpers/tar.ts';

let host: Host;
let dir: string;
beforeAll(async () => {
  host = await Host.create();
  dir = join(host.root, 'data', 'here');
  mkdirSync(dir, { recursive: true });
});
afterAll(() => host.destroy());

describe('--image', () => {
  test('a tarball is imported once under its file name; rm of a used image names its container', () => {
    host.minict('create', 'based');
    const base = imageTree(host, 'base');
    host.run(['tar', '-cf', join(dir, 'lab.tar'), '-C', base, '.']);
    for (const name of ['one', 'two']) {
      const result = host.run(['sh', '-c', 'cd "$1" && "$2" create "$3" --image ./lab.tar', 'sh', dir, MINICT, name]);
      expect(result).toEqual({ status: 0, stdout: `${name}\n`, stderr: '' });
    }
    expect(imageNames(host)).toEqual(['base', 'lab']);
    for (const option of [[], ['--dry-run']]) {
      expectRefused(host.minict('image', 'rm', ...option, 'lab'), /image lab: used by one, two/);
    }
    expect(host.minict('exec', 'one', 'sh', '-c', 'ping -c1 -W2 two >/dev/null && echo yes').stdout).toBe('yes\n');
    expect(host.minict('rm', '-f', 'one', 'two', 'based').status).toBe(0);
    const before = storeFiles(host);
    expect(host.minict('image', 'rm', '--dry-run', 'lab')).toEqual({ status: 0, stdout: 'lab\n', stderr: '' });
    expect(storeFiles(host)).toEqual(before);
    expect(imageNames(host)).toEqual(['base', 'lab']);
    expect(host.minict('image', 'rm', 'lab').stdout).toBe('lab\n');
    expect(imageNames(host)).toEqual(['base']);
  });

  test("a tarball of another's name, or one that has changed since, is not taken for its image", () => {
    host.minict('create', 'based');
    const base = imageTree(host, 'base');
    const [one, two] = ['one', 'two'].map((folder) => join(dir, folder, 'same.tar')) as [string, string];
    for (const tarball of [one, two]) {
      mkdirSync(dirname(tarball));
      host.run(['tar', '-cf', tarball, '-C', base, '.']);
    }
    expect(host.minict('create', 'c1', '--image', one)).toMatchObject({ status: 0, stderr: '' });
    expectRefused(
      host.minict('create', 'c2', '--image', two),
      /image same is of 'minict image import .*one\/same\.tar'\nhint: .*image import/,
    );
    expect(host.minict('create', 'c2', '--image', one)).toMatchObject({ status: 0, stderr: '' });
    host.run(['tar', '-rf', one, '-C', '/etc', 'passwd']);
    expectRefused(host.minict('create', 'c3', '--image', one), /it has changed since image same was made of it/);
    expect(host.minict('create', 'c3', '--image', 'same')).toMatchObject({ status: 0, stderr: '' });
    expect(host.minict('rm', 'c1', 'c2', 'c3', 'based').status).toBe(0);
    expect(host.minict('image', 'rm', 'same').status).toBe(0);
    const inFolder = ['sh', '-c', 'cd "$0" && exec "$1" create c4 --image same.tar', dirname(one), MINICT];
    expectRefused(host.run(inFolder), /no such image\nhint: --image \.\/same\.tar is the file/);
  });

  test('ls names a damaged image, and lists the others', () => {
    writeFileSync(join(dir, 'hurt.tar'), archive({ name: 'file', content: 'x' }));
    expect(host.minict('image', 'import', join(dir, 'hurt.tar'), 'hurt').status).toBe(0);
    const [{ id }] = JSON.parse(host.minict('image', 'inspect', 'hurt').stdout);
    const blob = join(host.root, 'images/blobs/sha256', id.slice('sha256:'.length));
    writeFileSync(blob, readFileSync(blob, 'utf8').replace('layer', 'leyar'));
    const { status, stdout, stderr } = host.minict('image', 'ls', '-q');
    expect({ status, stdout }).toEqual({ status: 125, stdout: 'base\n' });
    expect(stderr).toContain(`cannot read blob ${id}: its content has another digest`);
    expectRefused(host.minict('create', 'h', '--image', 'hurt'), /its content has another digest/);
    writeFileSync(blob, readFileSync(blob, 'utf8').replace('leyar', 'layer'));
    expect(host.minict('image', 'rm', 'hurt').stdout).toBe('hurt\n');
  });

  test('a folder is used in place and stays as it is; base is a recipe, too', () => {
    const recipe = join(process.cwd(), 'images', 'base');
    expect(host.minict('image', 'build', recipe, 'built')).toEqual({ status: 0, stdout: 'built\n', stderr: '' });
    const rootfs = join(dir, 'rootfs');
    host.run(['cp', '-a', imageTree(host, 'built'), rootfs]);
    const listing = () => host.run(['find', rootfs, '-printf', '%p %m %s %T@ %C@\n']).stdout;
    const before = listing();
    expect(host.minict('create', 'inplace', '--image', rootfs).stdout).toBe('inplace\n');
    const script = 'echo new >/etc/new && echo more >>/etc/passwd && rm /var/www/index.html && cat /etc/new';
    expect(host.minict('exec', 'inplace', 'sh', '-c', script).stdout).toBe('new\n');
    expect(host.minict('rm', 'inplace').status).toBe(0);
    expect(listing()).toBe(before);
  });
});
