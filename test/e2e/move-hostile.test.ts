/** A saved container is untrusted where it is loaded: whatever is wrong with it, nothing of it is left, and all is as before. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { storeFiles } from '../helpers/images.ts';
import { membersOf } from '../helpers/move.ts';
import { archive, type Member, member } from '../helpers/tar.ts';

let host: Host;
const at = (name: string) => join(host.dir, name);
/** With its image, and one that has snapshots alone. */
let whole: Buffer;

type Manifest = Record<string, unknown> & { layers: string[]; upper: string; imageId: string; snapshots: object[] };

beforeAll(async () => {
  host = await Host.create();
  for (const words of [
    ['create', 'web1'],
    ['exec', 'web1', 'sh', '-c', 'echo one >/one'],
    ['stop', 'web1'],
    ['snapshot', 'create', 'web1', 'a'],
    ['start', 'web1'],
    ['exec', 'web1', 'sh', '-c', 'echo two >/two'],
    ['stop', 'web1'],
    ['save-container', 'web1', '-o', at('web1.tar')],
  ]) {
    expect(host.minict(...words), words.join(' ')).toMatchObject({ status: 0, stderr: '' });
  }
  whole = readFileSync(at('web1.tar'));
  writeFileSync(at('victim'), 'safe');
});
afterAll(() => host.destroy());

const load = (tar: Buffer, ...words: string[]) => {
  writeFileSync(at('x.tar'), tar);
  return host.minict('load-container', '-i', at('x.tar'), '--name', 'x', ...words);
};

/** Refused, and all is as it was. */
function expectNothing(tar: Buffer, message: RegExp, ...words: string[]): void {
  const layers = () => readdirSync(join(host.root, 'layers')).sort();
  const state = () => ({ kernel: host.snapshot(), store: storeFiles(host), layers: layers() });
  const before = state();
  expectRefused(load(tar, ...words), message);
  expect(state()).toEqual(before);
  expect(readFileSync(at('victim'), 'utf8')).toBe('safe');
  expect(statSync(at('victim')).nlink).toBe(1);
  expect(existsSync(join(host.root, 'evil'))).toBe(false);
}

const digestOf = (content: Buffer | string) => `sha256:${new Bun.CryptoHasher('sha256').update(content).digest('hex')}`;

/** The stream with some of its members, and its manifest, other than they were. */
function changed(change: (manifest: Manifest, members: Map<string, Buffer>) => void): Buffer {
  const members = new Map(membersOf(whole).map(({ name, content }) => [name, content]));
  const manifest = JSON.parse(String(members.get('minict-container.json')));
  change(manifest, members);
  members.set('minict-container.json', Buffer.from(JSON.stringify(manifest)));
  return archive(...[...members].map(([name, content]) => ({ name, content: content.toString('latin1') })));
}

const nic = (odd: object) => ({ network: 'minict0', name: 'eth0', addresses: ['192.168.0.9/24'], ...odd });

const cable = (odd: object) => ({ kind: 'p2p', peer: 'r2', name: 'eth2', addresses: ['10.0.0.1/31'], ...odd });

test('what is not changed is taken', () => {
  expect(load(changed(() => {}))).toMatchObject({ status: 0, stdout: 'x\n' });
  expect(host.minict('rm', 'x').status).toBe(0);
});

describe('what it says of itself', () => {
  test.each<[string, (manifest: Manifest) => void, RegExp]>([
    ['a newer version', (it) => (it.version = 2), /saved by a newer minict\nhint: update minict/],
    ['no version', (it) => delete it.version, /version: /],
    ['a setting that nobody knows', (it) => (it.privileged = true), /privileged/],
    ['a path as a layer', (it) => (it.layers = ['/etc']), /layers\.0: not a sha256 digest/],
    ['paths as layers of this side', (it) => Object.assign(it, { lower: ['/etc'] }), /lower/],
    ['a directory in place', (it) => Object.assign(it, { inPlace: '/etc' }), /inPlace/],
    ['what is under way', (it) => Object.assign(it, { pending: { kind: 'freeze', layer: '/etc' } }), /pending/],
    ['a name with a path', (it) => (it.name = '../../etc'), /name: cannot use container name "\.\.\/\.\.\/etc"/],
    ['a host name with a line end', (it) => (it.hostname = 'a\nb'), /hostname: cannot use host name/],
    [
      'a host with a line end',
      (it) => (it.extraHosts = [{ name: 'a', address: '::1\n10.0.0.1 b' }]),
      /extraHosts\.0: /,
    ],
    ['a name server with one', (it) => (it.dns = { servers: ['::1\nsearch b'] }), /dns\.servers\.0: /],
    ['a search domain with one', (it) => (it.dns = { search: ['a\nnameserver ::1'] }), /dns\.search\.0: /],
    ['an option with one', (it) => (it.dns = { options: ['rotate\n'] }), /dns\.options\.0: /],
    ['more name servers than are asked', (it) => (it.dns = { servers: Array(4).fill('::1') }), /dns: .*first 3 alone/],
    ['a time with an escape', (it) => (it.createdAt = '\u001b[2J'), /createdAt: no time/],
    ['a NUL in the environment', (it) => (it.env = { A: 'b\0c' }), /env\.A: a NUL in it/],
    ['a name that is none', (it) => (it.env = { 'A B': 'c' }), /env.*no name of a variable/],
    ['a NUL in the command', (it) => (it.command = ['sh', '-c\0']), /command\.1: a NUL in it/],
    ['a signal', (it) => (it.stopSignal = 'NONE'), /stopSignal: cannot use signal/],
    ['an address', (it) => (it.nics = [nic({ addresses: ['1.2.3.4.5/24'] })]), /nics\.0\.addresses\.0: /],
    ['a MAC address', (it) => (it.nics = [nic({ mac: 'x; ip link del' })]), /nics\.0\.mac: /],
    ['an MTU', (it) => (it.nics = [nic({ mtuBytes: 1 })]), /nics\.0\.mtuBytes/],
    ['an interface', (it) => (it.nics = [nic({ hostLink: 'eth0' })]), /hostLink/],
    ["an interface's name", (it) => (it.nics = [nic({ name: '../x' })]), /nics\.0\.name/],
    ['a network', (it) => (it.nics = [nic({ network: '../x' })]), /nics\.0\.network/],
    ['a kind of interface', (it) => (it.nics = [nic({ kind: 'phys', device: 'eth0' })]), /nics\.0/],
    ['a cable by a path', (it) => (it.nics = [cable({ peer: '../x' })]), /nics\.0\.peer/],
    ["a cable's end on the host", (it) => (it.nics = [cable({ cable: 'eth0' })]), /cable/],
    ['a route', (it) => (it.routes = [{ to: '10.0.0.0/8', via: '1; ip link' }]), /routes\.0: cannot use address/],
    [
      'a route over a path',
      (it) => (it.routes = [{ to: '10.0.0.0/8', dev: '../x' }]),
      /routes\.0: cannot use interface/,
    ],
    ['a default route', (it) => (it.routes = [{ to: '0.0.0.0/0', via: '10.0.0.1' }]), /routes\.0: .*default route/],
    ["the host's setting", (it) => (it.sysctls = { 'kernel.core_pattern': '|/x' }), /not of a network namespace/],
    ['a path as a setting', (it) => (it.sysctls = { 'net/../kernel/core_pattern': '|/x' }), /not the name of one/],
    ['two lines as a setting', (it) => (it.sysctls = { 'net.ipv4.ip_forward': '1\n2' }), /not one line/],
    ['half a router', (it) => (it.router = 'yes'), /router: /],
    ['files of nothing', (it) => Object.assign(it, { layers: [], imageId: undefined }), /files of no layer/],
    ['an image by a path', (it) => (it.imageId = '../../x'), /imageId: not a sha256 digest/],
    ['an image called by a path', (it) => (it.image = '../x'), /image name "\.\.\/x": not a valid name/],
    [
      'another image',
      (it) => (it.imageId = `sha256:${'0'.repeat(64)}`),
      /blobs\/\S+ is no part of it|neither in it nor here/,
    ],
    [
      'a snapshot called by a path',
      (it) => (it.snapshots = [{ ...it.snapshots[0], name: '../a' }]),
      /snapshots\.0\.name/,
    ],
    ['two snapshots of one name', (it) => it.snapshots.push(it.snapshots[0] as object), /two snapshots of one name/],
    [
      'a layer that is not in it',
      (it) => it.layers.push(`sha256:${'1'.repeat(64)}`),
      /layer sha256:1+ is neither in it nor here/,
    ],
    [
      'a bind that is not asked for',
      (it) => (it.volumes = [{ type: 'bind', source: '/etc', target: '/x' }]),
      /mounts \/etc/,
    ],
    ['a bind of a name', (it) => (it.volumes = [{ type: 'bind', source: 'x', target: '/x' }]), /nobody mounts so/],
    ['a bind of a way', (it) => (it.volumes = [{ type: 'bind', source: '../x', target: '/x' }]), /nobody mounts so/],
    ['a volume by a path', (it) => (it.volumes = [{ type: 'volume', name: '../x', target: '/x' }]), /nobody mounts so/],
    ['a volume over /proc', (it) => (it.volumes = [{ type: 'volume', target: '/proc/x' }]), /\/proc is the host's/],
    ['a volume out of it', (it) => (it.volumes = [{ type: 'volume', target: '/a/../../x' }]), /'\.\.' in a path/],
    [
      'two volumes at a place',
      (it) => (it.volumes = [1, 2].map(() => ({ type: 'volume', target: '/x' }))),
      /two of them/,
    ],
    [
      'options of a tmpfs',
      (it) => (it.volumes = [{ type: 'tmpfs', target: '/x', options: 'size=1m,context=x' }]),
      /tmpfs option "context=x"/,
    ],
    [
      'files of a volume that do not come',
      (it) => (it.volumes = [{ type: 'volume', target: '/x', files: `sha256:${'1'.repeat(64)}` }]),
      /volume 0, sha256:1+ is neither in it nor here/,
    ],
    ['services that are none', (it) => (it.services = [{}] as never), /services\.0/],
  ])('%s', (_, change, message) => {
    expectNothing(
      changed((manifest) => change(manifest)),
      message,
    );
  });

  test('no manifest, an empty stream, something else', () => {
    expectNothing(Buffer.alloc(0), /nothing came/);
    expectNothing(Buffer.alloc(10240), /no saved container\nhint: .*image load/);
    expectNothing(Buffer.from('no archive\n'.repeat(100)), /damaged, or not of minict's making/);
    expectNothing(archive({ name: 'index.json', content: '{}' }), /no saved container/);
    expectNothing(archive({ name: 'minict-container.json', content: '{' }), /no JSON/);
    expectNothing(archive({ name: 'minict-container.json', content: 'null' }), /Invalid input|expected/);
    const endless = Buffer.from(member({ name: 'minict-container.json' }));
    endless.write('77777777777\0', 124);
    endless.write(' '.repeat(8), 148);
    endless.write(
      `${endless
        .subarray(0, 512)
        .reduce((a, b) => a + b, 0)
        .toString(8)
        .padStart(6, '0')}\0`,
      148,
    );
    expectNothing(Buffer.concat([endless, Buffer.alloc(1 << 20)]), /beyond any use/);
  });
});

describe('its members', () => {
  const add = (...extra: Member[]) => {
    const end = Buffer.alloc(1024);
    return Buffer.concat([whole.subarray(0, -1024), ...extra.map(member), end]);
  };
  test.each<[string, Member[], RegExp]>([
    ['a path out', [{ name: '../../evil', content: 'x' }], /member \.\.\/\.\.\/evil is no part of it/],
    ['an absolute path', [{ name: '/etc/passwd', content: 'x' }], /is no part of it/],
    ['a layer by another path', [{ name: 'layers/../x.tar', content: 'x' }], /is no part of it/],
    ['a symlink', [{ name: 'layers', flag: '2', target: '/etc' }], /not of minict's making/],
    ['a hard link', [{ name: 'upper.tar', flag: '1', target: '/etc/shadow' }], /not of minict's making/],
    ['a folder', [{ name: 'layers/', flag: '5' }], /not of minict's making/],
    ['a device', [{ name: 'null', flag: '3' }], /not of minict's making/],
    ['a blob of nobody', [{ name: `blobs/sha256/${'a'.repeat(64)}`, content: 'x' }], /is no part of it/],
    ['files of a volume of nobody', [{ name: 'volumes/0.tar', content: 'x' }], /volumes\/0\.tar is no part of it/],
    ['a layer of nobody', [{ name: `layers/${'a'.repeat(64)}.tar`, content: 'x' }], /is no part of it/],
    ['twice the same', [{ name: 'upper.tar', content: 'x' }], /upper\.tar comes twice/],
  ])('%s', (_, extra, message) => {
    expectNothing(add(...extra), message);
  });

  test('content that is not what was announced: of a layer, of what was written, of an image', () => {
    const bent = (pattern: RegExp) =>
      changed((_, members) => {
        const name = [...members.keys()].find((each) => pattern.test(each)) as string;
        const content = Buffer.from(members.get(name) as Buffer);
        content.write('X', content.length - 1);
        members.set(name, content);
      });
    expectNothing(bent(/^upper\.tar$/), /upper\.tar has other content than was announced/);
    // Into a host that has neither the layer nor the image.
    const other = join(host.dir, 'other');
    const there = ['--root', other, '--run-dir', '/run/other'];
    for (const pattern of [/^layers\//, /^blobs\//]) {
      writeFileSync(at('x.tar'), bent(pattern));
      expectRefused(
        host.minict(...there, 'load-container', '-i', at('x.tar'), '--name', 'x'),
        /has other content than/,
      );
      for (const dir of ['containers', 'layers', 'images/layers', 'images/blobs/sha256', '.trash']) {
        expect(readdirSync(join(other, dir)), dir).toEqual([]);
      }
    }
  });
});

describe('files inside of it', () => {
  /** The stream with another upper directory, rightly announced. */
  const withUpper = (...members: Member[]) =>
    changed((manifest, parts) => {
      const upper = archive(...members);
      parts.set('upper.tar', upper);
      manifest.upper = digestOf(upper);
    });
  test.each<[string, () => Member[], RegExp]>([
    ['dots', () => [{ name: 'a/../../evil', content: 'x' }], /member a\/\.\.\/\.\.\/evil leads out/],
    [
      'through a symlink',
      () => [
        { name: 'd', flag: '2', target: host.dir },
        { name: 'd/victim', content: 'evil' },
      ],
      /member d\/victim .*symlink/,
    ],
    ['a hard link out', () => [{ name: 'l', flag: '1', target: '../victim' }], /member l is a hard link/],
    ['a whiteout of dots', () => [{ name: 'a/.wh...' }], /is a whiteout of nothing/],
    ['no tar', () => [{ name: 'x', flag: 'z' }], /unknown kind/],
  ])('%s', (_, members, message) => {
    expectNothing(withUpper(...members()), message);
  });

  test("a symlink that leads out is the container's own, and followed by nobody", () => {
    const tar = withUpper(
      { name: './', flag: '5' },
      { name: './etc/', flag: '5' },
      { name: './etc/hosts', flag: '2', target: at('victim') },
      { name: './dev', flag: '2', target: host.dir },
    );
    expect(load(tar).status).toBe(0);
    expectRefused(host.minict('start', 'x'), /its \/dev is no directory/);
    expect(readFileSync(at('victim'), 'utf8')).toBe('safe');
    expect(host.minict('rm', 'x').status).toBe(0);
  });
});

describe('an image inside of it', () => {
  interface Lies {
    readonly layer?: Member[];
    readonly diffId?: string;
    readonly size?: number;
    readonly config?: object;
  }
  /** The stream with another image, rightly announced but for those lies. */
  const withImage = ({ layer = [{ name: './', flag: '5' }], diffId, size, config: more }: Lies) =>
    changed((manifest, parts) => {
      const put = (content: Buffer) => {
        parts.set(`blobs/sha256/${digestOf(content).slice('sha256:'.length)}`, content);
        return { mediaType: 'application/x', digest: digestOf(content), size: content.length };
      };
      const before = [...parts.keys()].filter((name) => name.startsWith('blobs/'));
      for (const name of before) parts.delete(name);
      const tar = archive(...layer);
      const rootfs = { type: 'layers', diff_ids: [diffId ?? digestOf(tar)] };
      const text = (value: object) => Buffer.from(JSON.stringify(value));
      const config = text({ architecture: 'amd64', os: 'linux', rootfs, ...more });
      const layers = [{ ...put(tar), mediaType: 'application/vnd.oci.image.layer.v1.tar', size: size ?? tar.length }];
      const described = { mediaType: 'application/x', digest: digestOf(config), size: config.length };
      // The document that names the others is to come first.
      const blobs = [...parts].filter(([name]) => name.startsWith('blobs/'));
      for (const [name] of blobs) parts.delete(name);
      manifest.imageId = put(text({ schemaVersion: 2, config: described, layers })).digest;
      put(config);
      for (const [name, content] of blobs) parts.set(name, content);
      manifest.snapshots = [];
    });

  test('that is as it says', () => {
    expect(load(withImage({}))).toMatchObject({ status: 0, stdout: 'x\n' });
    expect(host.minict('rm', 'x').status).toBe(0);
    expect(host.minict('image', 'prune').status).toBe(0);
  });

  test.each<[string, Lies, RegExp]>([
    ['a layer that leads out', { layer: [{ name: '../../evil', content: 'x' }] }, /\.\.\/\.\.\/evil leads out/],
    ['a layer of other content', { diffId: `sha256:${'2'.repeat(64)}` }, /its content is sha256:\w+, not sha256:2+/],
    ['a layer of another size', { size: 7 }, /is not of 7 bytes/],
    ['documents that do not fit', { config: { rootfs: { type: 'layers', diff_ids: [] } } }, /are not as many/],
    ['a document that is none', { config: { rootfs: [] } }, /rootfs/],
  ])('%s', (_, lies, message) => {
    expectNothing(withImage(lies), message);
  });
});

test('cut short anywhere: nothing', () => {
  const ends = [1, 511, 512, 700, 1023];
  let at = 0;
  for (const { content } of membersOf(whole)) {
    at += 512 + Math.ceil(content.length / 512) * 512;
    ends.push(at - 512, at - 1, at, at + 100);
  }
  for (const end of ends) expectNothing(whole.subarray(0, end), /it is truncated/);
});

test('a name that is taken, by a container or by somebody else, and an address that cannot be', () => {
  expectNothing(whole, /a container web1 is there\nhint: --name NAME/, '--name', 'web1');
  expectNothing(whole, /container name "a\/b": not a valid name/, '--name', 'a/b');
  expectNothing(whole, /container name "host": a word of its own/, '--name', 'host');
  expectNothing(whole, /address '192\.168\.0': not an IPv4 address/, '--ip', '192.168.0');
  expectNothing(whole, /address 192\.168\.0\.2: taken by container web1/, '--ip', '192.168.0.2');
  expectNothing(whole, /address 10\.0\.0\.1: outside network/, '--ip', '10.0.0.1');
  host.run(['ip', 'netns', 'add', 'x']);
  expectNothing(whole, /\/run\/netns\/x is there, and minict did not make it/);
  host.run(['ip', 'netns', 'del', 'x']);
});

test('a full disk is named, on either side, and nothing is left on it', () => {
  const small = at('small');
  mkdirSync(small);
  const load = `mount -t tmpfs -o size=1m small "$1"
MINICT_ROOT="$1" "$2" --run-dir /run/small load-container -i "$3"; echo $?
find "$1" -type f ! -name instance; find "$1/containers" "$1/layers" "$1/images/layers" -mindepth 1; umount "$1"`;
  expect(host.run(['sh', '-c', load, 'sh', small, MINICT, at('web1.tar')])).toEqual({
    status: 0,
    stdout: '125\n',
    stderr: `minict: cannot load ${at('web1.tar')}: no space left on the disk of ${small}\nhint: df -h ${small}\n`,
  });
  const save = `mount -t tmpfs -o size=1m small "$1"
"$2" save-container web1 -o "$1/web1.tar"; echo $?; "$2" save-container web1 >/dev/full; echo $?; ls "$1"; umount "$1"`;
  const full = 'minict: cannot save web1: no space left where it goes\nhint: df -h\n';
  expect(host.run(['sh', '-c', save, 'sh', small, MINICT])).toEqual({
    status: 0,
    stdout: '125\n125\n',
    stderr: `${full}${full}`,
  });
});

test('a reader that ends, a file that cannot be: said, and nothing is left', () => {
  const gone = host.run(['sh', '-c', '{ "$0" save-container web1; echo $? >&2; } | head -c 100 >/dev/null', MINICT]);
  expect(gone.stderr).toBe('minict: cannot save web1: who reads it has ended\n125\n');
  writeFileSync(at('kept'), 'kept');
  for (const [words, message] of [
    [['web1', '-o', host.dir], /is a directory/],
    [['web1', '-o', at('no/such/file')], /no such file or directory/],
    [['nobody', '-o', at('kept')], /no such container/],
    [['web1', '-o', at('kept'), '--have', at('none')], /cannot read .*none/],
  ] as [string[], RegExp][]) {
    expectRefused(host.minict('save-container', ...words), message);
  }
  expect(readFileSync(at('kept'), 'utf8')).toBe('kept');
  expect(host.minict('save-container', 'web1', '-o', at('kept'))).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(readFileSync(at('kept')).equals(whole)).toBe(true);
  expectRefused(host.minict('load-container', '-i', at('none')), /no such file or directory/);
});
