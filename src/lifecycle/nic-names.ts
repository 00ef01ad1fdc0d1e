/** Names of a container's interfaces; those that are asked for come before those that are made up. */
import { ConflictError } from '../errors.ts';

interface NamedMember {
  readonly name: string;
  readonly nics: readonly { readonly name: string }[];
}

export class NicNames {
  private readonly member: NamedMember;
  private readonly used: Set<string>;
  private readonly reserved: ReadonlySet<string>;
  private index = 0;

  constructor(member: NamedMember, requests: readonly { readonly name?: string | undefined }[]) {
    this.member = member;
    this.used = new Set(member.nics.map((nic) => nic.name));
    this.reserved = new Set(requests.flatMap(({ name }) => name ?? []));
  }

  take(wanted: string | undefined): string {
    const isTaken = (name: string) => this.used.has(name) || (wanted === undefined && this.reserved.has(name));
    if (wanted === undefined) while (isTaken(`eth${this.index}`)) this.index += 1;
    const name = wanted ?? `eth${this.index}`;
    if (isTaken(name)) {
      throw new ConflictError(`cannot use interface name ${name}: ${this.member.name} has one of that name`, {
        hint: 'take another name; without one minict chooses',
      });
    }
    this.used.add(name);
    return name;
  }
}
