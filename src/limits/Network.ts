import { Result } from "effect"
import * as IpNetwork from "effect/net/IpNetwork"
import * as NetAddress from "effect/net/NetAddress"

/**
 * Who shares a limit with this address: an IPv4 address is alone, also when it is written as an IPv6 address; an IPv6
 * address shares it with its /64, of which one customer has at least one whole (RFC 6177).
 */
export const networkOf = (address: string | undefined): string => {
  const parsed = NetAddress.ipFromString(address ?? "")
  // never left out: whoever has no address that can be read shares one limit with the others
  if (Result.isFailure(parsed)) return "unknown"
  const ip = NetAddress.toCanonical(parsed.success)
  return NetAddress.isIpv4Address(ip)
    ? NetAddress.formatIp(ip)
    : IpNetwork.format(Result.getOrThrow(IpNetwork.fromAddress(ip, 64)))
}
