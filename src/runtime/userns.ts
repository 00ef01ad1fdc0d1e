/**
 * A user namespace. Network and IPC namespace are made in it, or root inside could do nothing with them. Files on the disk
 * have the ids that they have inside: the container's mount namespace sees the state folder through an idmapped mount
 * (mount_setattr(2)), and with it an overlay's layers, the upper one too, so that nothing else that reads them has to know. Pure.
 */
import { makeOwnedNamespace, makeUserNamespace } from '../host/user-namespace.ts';
import type { ContainerPaths } from '../state/paths.ts';
import type { Step } from '../step.ts';
import { nsFile } from './namespaces.ts';

/** The command that makes the network namespace in it. */
export function ownedNetns({ userns, netns }: ContainerPaths): string[] {
  return makeOwnedNamespace(userns, 'net', netns);
}

/** Before all that is to be in it. */
export function planUserns({ userns }: ContainerPaths, hostId: number): Step[] {
  return [
    nsFile('userns', undefined, userns, 'file that will hold the user namespace'),
    {
      id: 'userns',
      why: 'a user namespace, persisted as a file',
      run: { kind: 'run', argv: makeUserNamespace(userns, hostId) },
      undo: { kind: 'umount', targets: [userns], lazy: true },
      claims: [{ kind: 'nsfile', name: userns }],
    },
  ];
}
