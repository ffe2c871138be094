/**
 * CVE-2017-15361 (ROCA): a library in chips made RSA keys whose primes are powers of 65537 modulo many small primes,
 * which makes them factorable. M. Nemec et al., "The Return of Coppersmith's Attack", CCS 2017, section 2.3: so is the
 * modulus, and a sound one passes for such by a chance of about 2^-27 or less.
 */
const primes = [
  3,
  5,
  7,
  11,
  13,
  17,
  19,
  23,
  29,
  31,
  37,
  41,
  43,
  47,
  53,
  59,
  61,
  67,
  71,
  73,
  79,
  83,
  89,
  97,
  101,
  103,
  107,
  109,
  113,
  127,
  131,
  137,
  139,
  149,
  151,
  157,
  163,
  167
]

/** For each prime, the numbers that 65537 generates modulo it. */
const generated = primes.map((prime) => {
  const numbers = new Set<number>()
  for (let power = 1; !numbers.has(power); power = power * 65_537 % prime) numbers.add(power)
  return numbers
})

/** Whether this RSA modulus has the form of a key that can be factored. */
export const isRoca = (modulus: bigint): boolean =>
  primes.every((prime, i) => generated[i]!.has(Number(modulus % BigInt(prime))))
