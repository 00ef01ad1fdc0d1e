import { expect, test } from 'vitest';
import { nameFrom } from '../../src/image/transfer.ts';

test.each([
  ['docker://localhost:5000/lab/web:1', 'web:1'],
  ['docker://localhost:5000/web', 'web:latest'],
  ['docker://web', 'web:latest'],
  ['docker://web:1', 'web:1'],
  [`docker://example.org/lab/web@sha256:${'0'.repeat(64)}`, 'web:latest'],
  ['docker-daemon:web:1', 'web:1'],
  ['docker-daemon:lab/web:1', 'web:1'],
  ['dir:web', 'web:latest'],
  ['dir:/srv/images/web', 'web:latest'],
  ['docker-archive:/srv/web.tar', 'web:latest'],
  ['docker-archive:web.tar.gz:@0', 'web:latest'],
  ['docker-archive:/srv/all.tar:lab/web:1', 'web:1'],
  ['docker-archive:all.tar:web', 'web:latest'],
  ['oci-archive:/srv/web.tar:1', 'web:1'],
  ['oci-archive:/srv/all.tar:localhost/web:1', 'web:1'],
  ['oci:web:1', 'web:1'],
  ['oci:/srv/layout:web:1', 'web:1'],
  ['oci:/srv/web', 'web:latest'],
])('%s is called %s', (source, name) => expect(nameFrom(source)).toBe(name));

test.each(['dir:/', 'docker://', 'oci:/srv/-:x'])('%s is called nothing', (source) => {
  expect(() => nameFrom(source)).toThrow(/no name can be made of it/);
});
