/** Images as files, between minict, podman and skopeo, in both directions. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { imageNames, storeFiles } from '../helpers/images.ts';
import { baseTar } from '../helpers/layer-fixtures.ts';
import { Layout } from '../helpers/oci-layout.ts';
import { Podman } from '../helpers/podman.ts';
import { archive } from '../helpers/tar.ts';

let host: Host;
let podman: Podman;
let dir: string;
beforeAll(async () => {
  host = await Host.create();
  podman = new Podman(host);
  dir = join(host.dir, 'files');
  mkdirSync(dir);
  const layout = new Layout(join(host.dir, 'layout'));
  const layers = [
    { tar: baseTar(host) },
    { tar: archive({ name: 'lab/', flag: '5' }, { name: 'lab/gone' }, { name: 'lab/kept', content: 'kept\n' }) },
    { tar: archive({ name: 'lab/.wh.gone' }, { name: 'lab/new', content: 'new\n' }) },
  ];
  layout.add('web', {
    layers,
    settings: { Env: ['LAB=here'], Cmd: ['sh', '-c', 'echo $LAB; ls /lab; cat /lab/kept'] },
  });
  must('image', 'pull', layout.source('web'), 'web:1');
});
afterAll(() => host.destroy());

const SAYS = 'here\nkept\nnew\nkept\n';

function must(...words: string[]): string {
  const { status, stdout, stderr } = host.minict(...words);
  expect({ status, stderr }, words.join(' ')).toEqual({ status: 0, stderr: '' });
  return stdout;
}

function expectRuns(image: string): void {
  expect(must('run', '--rm', '--no-network', 'r', '--image', image)).toBe(SAYS);
}

test.each(['docker-archive', 'oci-archive'])('podman loads and runs a saved %s', (format) => {
  const file = join(dir, `${format}.tar`);
  expect(must('image', 'save', 'web:1', '-o', file, '--format', format)).toBe('');
  const loaded = podman
    .run('load', '-q', '-i', file)
    .trim()
    .replace('Loaded image: ', '')
    .replace('Loaded image(s): ', '');
  expect(loaded).toMatch(/web:1$/);
  expect(podman.runImage(loaded)).toBe(SAYS);
  podman.run('rmi', '-f', loaded);
  must('image', 'tag', 'web:1', 'kept:1');
  must('image', 'rm', 'web:1');
  expect(must('image', 'load', '-i', file)).toBe('web:1\n');
  expectRuns('web:1');
  must('image', 'rm', 'kept:1');
});

test('minict loads what podman saves: several names, several images, compressed, from a pipe', () => {
  const file = join(dir, 'save.tar');
  must('image', 'save', 'web:1', '-o', file);
  const loaded = /\S*web:1$/.exec(podman.run('load', '-q', '-i', file).trim())?.[0] as string;
  podman.run('tag', loaded, 'localhost/lab/other:2', 'example.org:5000/deep/third');
  const tree = join(host.dir, 'single.tar');
  writeFileSync(tree, archive({ name: 'single', content: 'x' }));
  podman.run('import', '-q', tree, 'localhost/single:1');
  for (const format of ['docker-archive', 'oci-archive']) {
    podman.run('save', '-q', '--format', format, '-o', join(dir, `podman-${format}.tar`), loaded);
    must('image', 'rm', ...imageNames(host));
    expect(must('image', 'load', '-i', join(dir, `podman-${format}.tar`))).toBe('web:1\n');
    expectRuns('web:1');
  }
  const all = join(host.dir, 'all.tar');
  podman.run(
    'save',
    '-q',
    '-m',
    '-o',
    all,
    loaded,
    'localhost/lab/other:2',
    'example.org:5000/deep/third',
    'localhost/single:1',
  );
  must('image', 'rm', ...imageNames(host));
  expect(must('image', 'load', '-i', all).split('\n').filter(Boolean).sort()).toEqual([
    'other:2',
    'single:1',
    'third',
    'web:1',
  ]);
  expectRuns('third');
  writeFileSync(join(host.dir, 'all.tar.gz'), gzipSync(readFileSync(all)));
  must('image', 'rm', ...imageNames(host));
  const piped = host.run(['sh', '-c', '"$0" image load <"$1"', MINICT, join(host.dir, 'all.tar.gz')]);
  expect(piped).toMatchObject({ status: 0, stderr: '' });
  expect(imageNames(host)).toEqual(['other:2', 'single:1', 'third', 'web:1']);
  must('image', 'rm', 'other:2', 'single:1', 'third');
});

test('skopeo’s layouts and folders; save into a pipe; a container that podman exports', () => {
  const skopeo = (...words: string[]) =>
    expect(host.run(['skopeo', 'copy', '--quiet', ...words])).toMatchObject({ status: 0 });
  for (const place of [
    `oci:${host.dir}/there:x`,
    `dir:${host.dir}/there-dir`,
    `docker-archive:${host.dir}/there.tar`,
  ]) {
    must('image', 'push', 'web:1', place);
    const copied = place.replace('there', 'copied');
    if (!place.includes('archive')) skopeo(place, copied);
    must('image', 'pull', place.includes('archive') ? place : copied, 'back:1');
    expectRuns('back:1');
    must('image', 'rm', 'back:1');
  }
  const piped = host.run([
    'sh',
    '-c',
    '"$0" image save web:1 | (cd "$1" && tar -xf - manifest.json && cat manifest.json)',
    MINICT,
    host.dir,
  ]);
  expect(JSON.parse(piped.stdout)[0].RepoTags).toEqual([expect.stringMatching(/web:1$/)]);
  const cut = host.run(['sh', '-c', '"$0" image save web:1 | head -c 1', MINICT]);
  expect(cut.stderr).toBe('minict: cannot save web:1: whoever read it from stdout has gone\n');
  const loaded = /\S*web:1$/.exec(podman.run('load', '-q', '-i', join(dir, 'save.tar')).trim())?.[0] as string;
  const id = podman.run('create', '--network=none', '--cgroups=disabled', loaded).trim();
  const exported = host.run(['sh', '-c', '"$@" | "$0" image import - exported', MINICT, ...podman.argv('export', id)]);
  expect(exported).toEqual({ status: 0, stdout: 'exported\n', stderr: '' });
  expect(must('run', '--rm', '--no-network', 'e', '--image', 'exported', '--', 'ls', '/lab')).toBe('kept\nnew\n');
  podman.run('rm', '-f', id);
  must('image', 'rm', 'exported');
});

test('a file is replaced whole, on another file system too; what cannot be is refused before anything is done', () => {
  const other = join(host.dir, 'other');
  mkdirSync(other);
  host.run(['mount', '-t', 'tmpfs', '-o', 'size=3m', 'other', other]);
  const seen = (path: string) => host.run(['sh', '-c', 'ls -A "$0"', path]).stdout;
  host.run(['sh', '-c', 'echo old >"$0/x.tar"; ln -s x.tar "$0/link.tar"', other]);
  must('image', 'save', 'web:1', '-o', join(other, 'link.tar'));
  expect(seen(other)).toBe('link.tar\nx.tar\n');
  expect(host.run(['tar', '-tf', join(other, 'x.tar')]).stdout).toContain('manifest.json');
  writeFileSync(join(dir, 'old.tar'), 'old');
  symlinkSync('old.tar', join(dir, 'link.tar'));
  must('image', 'save', 'web:1', '-o', join(dir, 'link.tar'));
  expect(readFileSync(join(dir, 'old.tar')).length).toBeGreaterThan(10_000);
  expect(statSync(join(dir, 'old.tar')).mode & 0o777).toBe(0o644);
  expect(readdirSync(dir).filter((name) => name.startsWith('.'))).toEqual([]);

  expectRefused(
    host.minict('image', 'save', 'web:1', '-o', join(other, 'big.tar')),
    /cannot save web:1: .*[Nn]o space left/,
  );
  expect(seen(other)).toBe('link.tar\nx.tar\n');
  expectRefused(host.minict('image', 'save', 'web:1', '-o', join(dir, 'no/where.tar')), /no such file or directory/);
  expectRefused(host.minict('image', 'save', 'web:1', '-o', dir), /not the name of a file/);
  expectRefused(
    host.minict('image', 'save', 'web:1', '-o', join(dir, 'x'), '--format', 'zip'),
    /docker-archive or oci-archive/,
  );
  expectRefused(host.minict('image', 'save', 'nope'), /no such image/);
  must('image', 'tag', 'web:1', 'Web:1');
  expectRefused(
    host.minict('image', 'save', 'Web:1', '-o', join(dir, 'x')),
    /docker takes no such name\nhint: .*lower case/,
  );
  must('image', 'rm', 'Web:1');
  expect(existsSync(join(dir, 'x'))).toBe(false);
});

test('a path may have what skopeo would take apart', () => {
  const odd = join(host.dir, 'a b:c,d@sha256:e');
  mkdirSync(odd);
  must('image', 'save', 'web:1', '-o', join(odd, 'f:g.tar'));
  expect(must('image', 'load', '-i', join(odd, 'f:g.tar'))).toBe('web:1\n');
});

test('an image without a name is called after its file', () => {
  const [{ id }] = JSON.parse(must('image', 'inspect', 'web:1'));
  must('create', 'c', '--image', 'web:1', '--no-network');
  must('create', 'b', '--no-network');
  must('image', 'tag', 'base', 'web:1');
  const file = join(host.dir, 'the lab.tar');
  must('image', 'save', id, '-o', file);
  expect(must('image', 'load', '-i', file)).toBe('the-lab\n');
  expectRuns('the-lab');
  const piped = host.run(['sh', '-c', '"$0" image load <"$1"', MINICT, file]);
  expectRefused(piped, /its image has no name\nhint: -i FILE/);
  must('rm', 'b', 'c');
  must('image', 'tag', 'the-lab', 'web:1');
});

test('what is no archive of images is refused', () => {
  const before = storeFiles(host);
  const refused = (content: Buffer, message: RegExp) => {
    writeFileSync(join(dir, 'bad.tar'), content);
    expectRefused(host.minict('image', 'load', '-i', join(dir, 'bad.tar')), message);
  };
  refused(Buffer.alloc(0), /neither docker's archive of images nor OCI's\nhint: minict image import/);
  expectRefused(host.minict('image', 'load'), /neither docker's .*\nhint: minict image import - NAME/);
  refused(archive({ name: 'etc/passwd', content: 'root' }), /neither docker's/);
  refused(archive({ name: 'manifest.json', content: '{"x"' }), /not JSON/);
  refused(archive({ name: 'manifest.json', content: '[{"RepoTags":[7]}]' }), /RepoTags/);
  refused(
    archive({
      name: 'manifest.json',
      content: '[{"Config":"../../../etc/passwd","RepoTags":["x:1"],"Layers":["/etc/passwd"]}]',
    }),
    /cannot load/,
  );
  refused(archive({ name: 'manifest.json', content: `[${' '.repeat(9 << 20)}]` }), /manifest\.json is no document/);
  refused(
    archive({ name: 'index.json', content: '{"manifests":[{"mediaType":"x","digest":"sha256:../../x","size":1}]}' }),
    /not a sha256 digest/,
  );
  expectRefused(host.minict('image', 'load', '-i', join(dir, 'nowhere.tar')), /no such file/);
  expectRefused(host.minict('image', 'load', '-i', dir), /not a file/);
  expect(storeFiles(host)).toEqual(before);
});
