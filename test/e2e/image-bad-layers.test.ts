/** Layers that are hostile, damaged or odd: what leads out is refused, and nothing of it is left; what is only odd works. */
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { Host } from '../helpers/host.ts';
import { storeFiles } from '../helpers/images.ts';
import { type ImageFixture, type LayerFixture, Layout, sha256 } from '../helpers/oci-layout.ts';
import { hideContainersCache } from '../helpers/registry.ts';
import { archive, type Member, pax } from '../helpers/tar.ts';

let host: Host;
/** A folder of the host's, which images try to get at. */
let outside: string;
beforeAll(async () => {
  host = await Host.create();
  hideContainersCache(host);
  outside = join(host.dir, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'victim'), 'safe');
});
afterAll(() => host.destroy());

let layouts = 0;
function layoutOf(image: ImageFixture): Layout {
  layouts += 1;
  const layout = new Layout(join(host.dir, `layout-${layouts}`));
  layout.add('x', image);
  return layout;
}

const FIRST: LayerFixture = { tar: archive({ name: 'first', content: 'x' }) };
const withLayer = (layer: LayerFixture): ImageFixture => ({ layers: [FIRST, layer] });
const ofMembers = (...members: Member[]) => withLayer({ tar: archive(...members) });

function expectPullRefused(image: ImageFixture, message: RegExp): void {
  const before = storeFiles(host);
  expectRefused(host.minict('image', 'pull', layoutOf(image).source('x'), 'bad'), message);
  expect(storeFiles(host)).toEqual(before);
  expect(readdirSync(outside)).toEqual(['victim']);
  expect(statSync(join(outside, 'victim'))).toMatchObject({ nlink: 1, size: 4 });
}

const plain = archive({ name: 'y', content: 'y'.repeat(5000) });
const gzipped = gzipSync(plain);

test.each<[string, () => ImageFixture, RegExp]>([
  ['a name with ..', () => ofMembers({ name: '../evil' }), /layer sha256:.*member \.\.\/evil leads out/],
  [
    'a hard link to outside',
    () => ofMembers({ name: 'l', flag: '1', target: '../../../outside/victim' }),
    /member l is a hard link/,
  ],
  [
    'a file through a symlink',
    () => ofMembers({ name: 'd', flag: '2', target: outside }, { name: 'd/evil' }),
    /member d\/evil .*symlink/,
  ],
  [
    'a whiteout through a symlink',
    () => ofMembers({ name: 'd', flag: '2', target: outside }, { name: 'd/.wh.victim' }),
    /member d\/\.wh\.victim .*symlink/,
  ],
  ['a whiteout of ..', () => ofMembers({ name: 'd/.wh...' }), /member d\/\.wh\.\.\. is a whiteout of nothing/],
  ['a whiteout of .', () => ofMembers({ name: 'd/.wh..' }), /member d\/\.wh\.\. is a whiteout of nothing/],
  ['a whiteout of nothing', () => ofMembers({ name: '.wh.' }), /member \.wh\. is a whiteout of nothing/],
  ['a folder that is a whiteout', () => ofMembers({ name: '.wh.x/', flag: '5' }), /is a whiteout of nothing/],
  ['a file in a whiteout', () => ofMembers({ name: '.wh.x/y' }), /is a whiteout of nothing/],
  ['a name of 300 bytes', () => ofMembers(pax('path', 'n'.repeat(300)), { name: 'n' }), /File name too long/],
  [
    'a truncated gzip',
    () => withLayer({ tar: plain, compression: 'gzip', packed: gzipped.subarray(0, 40) }),
    /layer sha256:.*truncated \(gzip: /,
  ],
  ['a tar that is cut short', () => withLayer({ tar: plain.subarray(0, 1000) }), /layer sha256:.*truncated/],
  ['a layer that is no tar', () => withLayer({ tar: Buffer.from('no tar\n'.repeat(200)) }), /no tar archive/],
  ['a blob with another digest', () => withLayer({ tar: plain, blob: Buffer.from('other') }), /[Dd]igest/],
  ['content with another digest', () => withLayer({ tar: plain, diffId: sha256('other') }), /its content is sha256:/],
  ['a blob of another size', () => withLayer({ tar: plain, size: 17 }), / bytes, and not 17/],
  [
    'a layer of an unknown kind',
    () => withLayer({ tar: plain, mediaType: 'application/x-lab' }),
    /layer sha256:.* unknown kind \(application\/x-lab\)|application\/x-lab/,
  ],
  ['a configuration that is no JSON', () => ({ layers: [FIRST], config: '{"os":' }), /not JSON|JSON input/],
  ['a configuration that is no object', () => ({ layers: [FIRST], config: '[1]' }), /cannot/],
  [
    'a configuration without layers',
    () => ({ layers: [FIRST], config: '{"architecture":"amd64","os":"linux"}' }),
    /rootfs/,
  ],
  [
    'fewer digests of content than layers',
    () => ({ layers: [FIRST], config: { rootfs: { type: 'layers', diff_ids: [] } } }),
    /not as many/,
  ],
  ['settings of another type', () => ({ layers: [FIRST], settings: { Env: 'PATH=/' } }), /cannot .*Env/],
  ['a manifest that is no JSON', () => ({ layers: [FIRST], manifest: 'x' }), /cannot pull/],
  ['a manifest without layers', () => ({ layers: [FIRST], manifest: { layers: 7 } }), /cannot pull/],
  [
    'an index without this platform',
    () => ({ layers: [FIRST], platform: { os: 'linux', architecture: 's390x' } }),
    /no image found.*amd64/,
  ],
])('refuses %s', (_, image, message) => {
  expectPullRefused(image(), message);
});
