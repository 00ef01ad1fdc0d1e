/** Snapshots, rollback, clones, other images under a container, and images of containers: the files, and what stays. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused, linksSettle } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  expectCreated(host, 'first');
});
afterAll(() => host.destroy());

const ok = (...words: string[]) => {
  const result = host.minict(...words);
  expect(result, words.join(' ')).toMatchObject({ status: 0, stderr: '' });
  return result.stdout;
};
const sh = (name: string, script: string) => ok('exec', name, 'sh', '-c', script);
const layers = () => readdirSync(join(host.root, 'layers')).sort();
/** Addresses, routes, filters and the identity of the namespace: what outlasts a change of the files. */
const network = (name: string) =>
  ['addr', 'route', 'link']
    .map((what) => host.run(['ip', '-n', name, what]).stdout.replace(/ state \w+/g, ''))
    .join('') +
  host.run(['stat', '-c', '%i', `/run/netns/${name}`, `/run/utsns/${name}`]).stdout +
  host.run(['ip', 'netns', 'exec', name, 'tc', 'qdisc', 'show']).stdout;

test('a stopped container: at once, and back again as often as one likes', () => {
  expectCreated(host, 's1');
  sh(
    's1',
    'echo one >/file; mkdir /dir; echo kept >/dir/kept; rm /var/www/index.html; chmod 700 /srv; chmod 711 /; chown 7:8 /',
  );
  ok('stop', 's1');
  const inode = statSync(join(host.root, 'containers/s1/upper/file')).ino;
  expect(ok('snapshot', 'create', 's1', 'a')).toBe('a\n');
  // The very same files: nothing was copied.
  expect(layers().map((id) => statSync(join(host.root, 'layers', id, 'file')).ino)).toEqual([inode]);
  for (const round of ['two', 'three']) {
    ok('start', 's1');
    expect(sh('s1', 'cat /file /dir/kept; ls /var/www; stat -c %a /srv; stat -c "%a %u %g" /')).toBe(
      'one\nkept\n700\n711 7 8\n',
    );
    sh('s1', `echo ${round} >/file; rm -r /dir; echo page >/var/www/index.html; mkdir /dir; echo new >/dir/new`);
    expect(sh('s1', 'cat /file; ls /dir')).toBe(`${round}\nnew\n`);
    ok('snapshot', 'rollback', 's1', 'a');
  }
  sh('s1', 'echo four >/file; rm /dir/kept; echo new >/new');
  ok('stop', 's1');
  expect(ok('snapshot', 'diff', 's1', 'a')).toBe('C /dir\nD /dir/kept\nC /file\nA /new\n');
  ok('snapshot', 'create', 's1', 'b');
  expect(ok('snapshot', 'diff', 's1', 'b')).toBe('');
  expect(ok('snapshot', 'diff', 's1', 'b', 'a')).toBe('C /dir\nA /dir/kept\nC /file\nD /new\n');
  ok('snapshot', 'rollback', 's1', 'a');
  ok('start', 's1');
  expect(ok('snapshot', 'ls', '-q', 's1')).toBe('a\nb\n');
  const listed = JSON.parse(ok('snapshot', 'ls', 's1', '--format', 'json'));
  expect(listed).toMatchObject([{ name: 'a', image: 'base' }, { name: 'b' }]);
  ok('snapshot', 'rm', 's1', 'a', 'b');
  expect(sh('s1', 'cat /file')).toBe('one\n');
  ok('rm', 's1');
  expect(layers()).toEqual([]);
});

test('a running container: it goes on, and a rollback starts its program anew under the same namespaces', () => {
  ok('run', '-d', 's2', '--', 'sh', '-c', 'echo started >>/starts; while sleep 0.01; do echo x >>/growing; done');
  sh('s2', 'echo one >/file');
  host.run(['ip', '-n', 's2', 'route', 'add', '10.9.0.0/16', 'via', '192.168.0.1']);
  host.run(['ip', 'netns', 'exec', 's2', 'tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'pfifo', 'limit', '7']);
  const pid = () =>
    host.run(['sh', '-c', 'cat /sys/fs/cgroup/freezer/minict-*/s2/payload/tasks']).stdout.split('\n')[0];
  const before = { network: network('s2'), pid: pid() };
  ok('snapshot', 'create', 's2', 'a');
  expect(pid()).toBe(before.pid);
  sh('s2', 'echo two >/file');
  ok('snapshot', 'rollback', '-t', '1', 's2', 'a');
  expect(network('s2')).toBe(before.network);
  expect(pid()).not.toBe(before.pid);
  expect(sh('s2', 'cat /file; wc -l </starts')).toBe('one\n2\n');
  expect(ok('ps', '--filter', 'name=s2')).toMatch(/^s2 +running/m);
  ok('rm', '-f', 's2');
  expect(layers()).toEqual([]);
});

test('clones share the files of before, and nothing of after; the last one takes them along', () => {
  ok('create', 's3', '-e', 'COLOUR=red', '--mtu', '1400', '--service', 'echo ran >/ran', '--stop-cmd', 'true');
  sh('s3', 'echo one >/file');
  ok('stop', 's3');
  expect(ok('clone', 's3', 's4', '--ip', '192.168.0.77')).toBe('s4\n');
  expect(sh('s4', 'cat /file /etc/hostname; echo $COLOUR; cat /sys/class/net/eth0/mtu')).toMatch(/^one\ns4\nred\n/);
  const [of3, of4] = JSON.parse(ok('inspect', 's3', 's4'));
  expect(of4).toMatchObject({ hostname: 's4', services: of3.services, image: of3.image, address: '192.168.0.77' });
  expect(of4.nics[0]).toMatchObject({ mtuBytes: 1400 });
  expect(of4.nics[0].mac).not.toBe(of3.nics[0].mac);
  sh('s4', 'echo four >/file');
  ok('start', 's3');
  expect(sh('s3', 'cat /file')).toBe('one\n');
  sh('s3', 'echo three >/file');
  ok('clone', 's3', 's5');
  sh('s3', 'echo later >/file');
  ok('snapshot', 'create', 's3', 'a');
  ok('clone', 's3', 's6', '--snapshot', 'a');
  ok('rm', '-f', 's3');
  expect([sh('s4', 'cat /file'), sh('s5', 'cat /file'), sh('s6', 'cat /file /ran')]).toEqual([
    'four\n',
    'three\n',
    'later\nran\n',
  ]);
  ok('rm', '-f', 's4', 's5');
  expect(sh('s6', 'cat /file')).toBe('later\n');
  ok('rm', '-f', 's6');
  expect(layers()).toEqual([]);
});

test('an image of a container; another image under one, with or without its changes', () => {
  ok('run', '-d', 's7', '-e', 'A=b c', '-w', '/srv', '--', 'sleep', '300');
  sh('s7', 'echo seven >/file; rm -r /var/www; mkdir /var/www; echo new >/var/www/new; ln /file /link');
  expect(ok('commit', 's7', 'lab:1', '-m', 'first', '--change', 'CMD ["cat", "/file"]')).toMatch(
    /^sha256:[0-9a-f]{64}\n$/,
  );
  expect(ok('run', '--rm', 's8', '--image', 'lab:1')).toBe('seven\n');
  expect(
    ok('run', '--rm', 's8', '--image', 'lab:1', '--', 'sh', '-c', 'pwd; echo $A; ls /var/www; stat -c %h /file'),
  ).toBe('/srv\nb c\nnew\n2\n');
  expect(ok('image', 'diff', 'base', 'lab:1')).toMatch(/^A \/file\nA \/link\n(C \/srv\n)?C \/var\n?/);
  expect(ok('image', 'diff', 'lab:1', 'base')).toContain('D /file\n');
  expect(ok('image', 'history', 'lab:1')).toMatch(/ first\n.* make image base\n$/);
  expectCreated(host, 's9');
  sh('s9', 'echo mine >/mine; echo nine >/file');
  host.run(['ip', '-n', 's9', 'route', 'add', '10.9.0.0/16', 'via', '192.168.0.1']);
  const before = network('s9');
  expect(host.minict('rebase', 's9', 'lab:1')).toMatchObject({ status: 0, stdout: 's9\n' });
  expect(network('s9')).toBe(before);
  expect(sh('s9', 'cat /file; ls /mine 2>/dev/null || echo gone')).toBe('seven\ngone\n');
  ok('snapshot', 'rollback', 's9', 'before-rebase');
  expect(sh('s9', 'cat /file /mine')).toBe('nine\nmine\n');
  host.minict('rebase', 's9', 'lab:1', '--keep-changes');
  expect(sh('s9', 'cat /file /mine; ls /var/www')).toBe('nine\nmine\nnew\n');
  expectRefused(host.minict('image', 'rm', 'lab:1'), /image lab:1: used by s9/);
  ok('rm', '-f', 's7', 's9');
  ok('image', 'rm', 'lab:1');
  expect(layers()).toEqual([]);
});

test.each<[string[], RegExp]>([
  [['snapshot', 'create', 'nobody', 'a'], /container nobody: no such container/],
  [['snapshot', 'create', 'first', '../a'], /snapshot name "..\/a": not a valid name/],
  [
    ['snapshot', 'rollback', 'first', 'nope'],
    /snapshot nope of first: no such snapshot\nhint: minict snapshot ls first/,
  ],
  [['snapshot', 'rm', 'first', 'nope'], /no such snapshot/],
  [['snapshot', 'ls', 'nobody'], /no such container/],
  [['clone', 'nobody', 's1'], /no such container/],
  [['clone', 'first', 'first'], /needs another name/],
  [['clone', 'first', 's1', '--snapshot', 'nope'], /no such snapshot/],
  [['clone', 'first', 's1', '--ip', '192.168.0.2'], /address 192\.168\.0\.2: taken by container first/],
  [['rebase', 'first', 'nope'], /image nope: no such image/],
  [['rebase', 'nobody', 'base'], /no such container/],
  [['commit', 'nobody', 'x'], /no such container/],
  [['commit', 'first', 'a/b'], /image name "a\/b": not a valid name/],
  [['commit', 'first', 'x', '--change', 'RUN true'], /not CMD, ENTRYPOINT/],
  [['commit', 'first', 'x', '--change', 'LABEL a'], /not K=V/],
  [['commit', 'first', 'x', '--change', 'ENV A="b'], /not K=V/],
  [['commit', 'first', 'x', '--change', 'EXPOSE http'], /"http" is no port/],
  [['commit', 'first', 'x', '--change', 'VOLUME srv'], /"srv" is no absolute path/],
])('%j is refused, and nothing has changed', async (words, message) => {
  // The links of what was removed before live on for a while.
  await linksSettle(host);
  const before = host.snapshot();
  expectRefused(host.minict(...words), message);
  expect(host.snapshot()).toEqual(before);
  expect(sh('first', 'echo up')).toBe('up\n');
});

test("commit --change: what a Dockerfile sets, with its quotes; the rest is the container's", () => {
  ok('create', 'c1', '-e', 'A=1', '-e', 'B=2', '-l', 'of=c1', '--', 'sleep', '300');
  const lines = [
    'CMD ["one"]',
    'ENTRYPOINT ["/bin/echo", "x y"]',
    'ENV B="two \\"2\\" words" C=\'it\' D=a\\ b',
    'env E rest of the line',
    'LABEL is="a label" of=lab',
    'EXPOSE 80 53/udp',
    'VOLUME /data /more',
    'volume ["/with space"]',
  ];
  ok('commit', 'c1', 'lab:2', ...lines.flatMap((line) => ['--change', line]));
  const settingsOf = (image: string) => JSON.parse(ok('image', 'inspect', image))[0].config.config;
  expect(settingsOf('lab:2')).toEqual({
    Cmd: ['one'],
    Entrypoint: ['/bin/echo', 'x y'],
    Env: ['A=1', 'B=two "2" words', 'C=it', 'D=a b', 'E=rest of the line'],
    Labels: { of: 'lab', is: 'a label' },
    ExposedPorts: { '80/tcp': {}, '53/udp': {} },
    Volumes: { '/data': {}, '/more': {}, '/with space': {} },
  });
  expect(ok('run', '--rm', 'c2', '--image', 'lab:2')).toBe('x y one\n');
  ok('commit', 'c1', 'lab:3', '-c', 'ENTRYPOINT echo');
  expect(settingsOf('lab:3')).toEqual({
    Entrypoint: ['/bin/sh', '-c', 'echo'],
    Env: ['A=1', 'B=2'],
    Labels: { of: 'c1' },
  });
  ok('rm', 'c1');
  ok('image', 'rm', 'lab:2', 'lab:3');
});

test('a directory in place has no layers', () => {
  const tree = join(host.dir, 'tree');
  host.run([
    'sh',
    '-c',
    `mkdir -p ${tree} && tar -C "$0" -c . | tar -C ${tree} -x`,
    join(host.root, 'images/layers', readdirSync(join(host.root, 'images/layers'))[0] as string),
  ]);
  ok('create', 's1', '--rootfs', tree);
  for (const words of [
    ['snapshot', 'create', 's1', 'a'],
    ['clone', 's1', 's2'],
    ['rebase', 's1', 'base'],
  ]) {
    expectRefused(host.minict(...words), /its files are in \S+ itself, without layers\nhint: .*--image/);
  }
  ok('commit', 's1', 'placed');
  expect(ok('run', '--rm', 's2', '--image', 'placed', '--', 'echo', 'hi')).toBe('hi\n');
  ok('rm', 's1');
  ok('image', 'rm', 'placed');
});

test('two at once of the same: one wins, and clones of one container are whole', async () => {
  expectCreated(host, 's1');
  sh('s1', 'echo one >/file');
  ok('stop', 's1');
  const exits = async (all: string[][]) =>
    (await Promise.all(all.map((words) => host.spawn([MINICT, ...words]).exited))).sort();
  expect(await exits([1, 2, 3].map(() => ['snapshot', 'create', 's1', 'same']))).toEqual([0, 125, 125]);
  const names = ['c1', 'c2', 'c3', 'c4'];
  expect(await exits(names.map((name) => ['clone', 's1', name]))).toEqual([0, 0, 0, 0]);
  expect(names.map((name) => sh(name, 'cat /file'))).toEqual(names.map(() => 'one\n'));
  expect(
    await exits([
      ['rm', '-f', 'c1', 's1'],
      ['rm', '-f', 'c2'],
      ['clone', 'c3', 'c5'],
    ]),
  ).toEqual([0, 0, 0]);
  expect(sh('c5', 'cat /file') + sh('c4', 'cat /file')).toBe('one\none\n');
  ok('rm', '-f', 'c3', 'c4', 'c5');
  expect(layers()).toEqual([]);
});
