/**
 * The way of a main command into a container of an OCI runtime's, as one program in memory in place of nsenter(1). It is a
 * descriptor that all have who lead to it, for as long as its supervisor lives.
 */
import { statSync } from 'node:fs';
import { assemble, type Call } from '../host/call-list.ts';
import { memoryFile } from '../host/lent.ts';
import { addRuntime, callAdder } from '../host/runtime-calls.ts';
import { toolPath } from '../host/tool.ts';
import { OCI_RUNTIMES } from '../spec/oci-runtime.ts';
import type { OciPlace, Place } from '../spec/place.ts';

const REFUSED = 'minict: cannot enter the container: a namespace of it is gone, or its runtime\n';

/** Descriptor of it; undefined where this machine or kernel takes no such program. */
export function openOciEntry(place: Place, { runtime, words }: OciPlace, isAttached: boolean): number | undefined {
  const { cgroupns, ipcns, utsns, netns, timens, mntns } = place;
  const path = toolPath(runtime);
  const calls: Call[] = [];
  addRuntime(callAdder(calls), {
    path,
    // A copy is half a megabyte as long as the program runs: beside one that nobody is attached to, the file's pages serve all.
    sealedBytes: isAttached && OCI_RUNTIMES[runtime].sealed ? statSync(path).size : undefined,
    argv: [path, ...words],
    env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'],
    namespaces: [cgroupns, ipcns, utsns, netns, timens, mntns].filter((file) => file !== undefined),
  });
  const end = calls.length;
  try {
    return memoryFile(
      'minict-entry',
      assemble([
        ...calls.map((call) => ({ ...call, onError: end })),
        { name: 'write', args: [2, REFUSED, REFUSED.length] },
        { name: 'exit_group', args: [125] },
      ]),
    );
  } catch {
    return undefined;
  }
}
