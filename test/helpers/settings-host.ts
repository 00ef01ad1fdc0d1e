/** A host for images that differ in what they say of their programs; each test begins and ends without container `c`. */
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { Host, type Result } from './host.ts';
import { baseTar } from './layer-fixtures.ts';
import { Layout } from './oci-layout.ts';
import { hideContainersCache } from './registry.ts';
import { archive } from './tar.ts';

const PASSWD = 'root:x:0:0::/root:/bin/sh\nlab:x:1000:1000::/home/lab:/bin/sh\n';

export class SettingsHost {
  readonly host: Host;
  private readonly layout: Layout;
  private readonly layers: { tar: Buffer }[];
  private images = 0;

  constructor(host: Host) {
    this.host = host;
    hideContainersCache(host);
    this.layout = new Layout(join(host.dir, 'layout'));
    const users = archive(
      { name: 'etc/', flag: '5' },
      { name: 'etc/passwd', content: PASSWD },
      { name: 'etc/group', content: 'root:x:0:\nlab:x:1000:\nmore:x:2000:lab\n' },
      { name: 'srv/', flag: '5' },
      { name: 'srv/host', flag: '2', target: host.dir },
    );
    this.layers = [{ tar: baseTar(host) }, { tar: users }];
  }

  /** Where skopeo finds an image with the settings. */
  source(settings: object): string {
    this.images += 1;
    this.layout.add(`i${this.images}`, { layers: this.layers, settings });
    return this.layout.source(`i${this.images}`);
  }

  /** Name of a pulled one. */
  image(settings: object): string {
    const source = this.source(settings);
    const name = `i${this.images}`;
    expect(this.host.minict('image', 'pull', source, name)).toMatchObject({ status: 0, stderr: '' });
    return name;
  }

  run(image: string, ...words: string[]): Result {
    return this.host.minict('run', '--rm', '--no-network', 'c', '--image', image, ...words);
  }
}

/** What is returned is filled before the first test. */
export function useSettingsHost(): { lab: SettingsHost } {
  const now = {} as { lab: SettingsHost };
  beforeAll(async () => {
    now.lab = new SettingsHost(await Host.create());
  });
  afterEach(() => void now.lab.host.minict('rm', '-f', 'c'));
  afterAll(() => now.lab.host.destroy());
  return now;
}
