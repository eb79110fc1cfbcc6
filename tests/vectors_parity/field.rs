//! The field and the code, from the formula of `formats/parity.md#code` alone.

const POLYNOMIAL: u32 = 0x1_002d;
const BASIS: [u16; 16] = [
    0x0001, 0xacca, 0x3c0e, 0x163e, 0xc582, 0xed2e, 0x914c, 0x4012, 0x6c98, 0x10d8, 0x6a72, 0xb900,
    0xfdb8, 0xfb34, 0xff38, 0x991e,
];

/// Arithmetic on elements written in the Cantor basis.
pub struct Field {
    /// From the polynomial to the number in the Cantor basis.
    numbers: Vec<u16>,
}

impl Field {
    pub fn new() -> Self {
        let mut numbers = vec![0; 1 << 16];
        for number in 0..=u16::MAX {
            numbers[usize::from(polynomial(number))] = number;
        }
        Self { numbers }
    }

    pub fn multiply(&self, a: u16, b: u16) -> u16 {
        let (a, b) = (u32::from(polynomial(a)), polynomial(b));
        let mut product = (0..16)
            .filter(|bit| b >> bit & 1 == 1)
            .fold(0, |sum, bit| sum ^ a << bit);
        for bit in (16..32).rev() {
            if product >> bit & 1 == 1 {
                product ^= POLYNOMIAL << (bit - 16);
            }
        }
        self.numbers[product as usize]
    }

    fn inverse(&self, a: u16) -> u16 {
        // a to the power 2^16 - 2.
        let (mut result, mut square) = (1, a);
        for _ in 1..16 {
            square = self.multiply(square, square);
            result = self.multiply(result, square);
        }
        result
    }

    /// What original `i` counts in recovery shard `j` of `recovery`.
    fn coefficient(&self, i: u16, j: u16, recovery: usize) -> u16 {
        let run = u16::try_from(recovery.next_power_of_two()).unwrap();
        let point = run + i;
        let vanishing = (0..run.trailing_zeros()).fold(point, |y, _| self.multiply(y, y) ^ y);
        self.multiply(vanishing, self.inverse(point ^ j))
    }

    /// The recovery shards over `originals`, which have the same length.
    pub fn recovery(&self, originals: &[Vec<u8>], recovery: usize) -> Vec<Vec<u8>> {
        let shard = |j: usize| {
            let mut sum = vec![0; originals[0].len()];
            for (i, original) in originals.iter().enumerate() {
                let numbers = (u16::try_from(i).unwrap(), u16::try_from(j).unwrap());
                let coefficient = self.coefficient(numbers.0, numbers.1, recovery);
                for (sum, block) in sum.chunks_mut(64).zip(original.chunks(64)) {
                    for c in 0..32 {
                        let symbol = u16::from_le_bytes([block[c], block[32 + c]]);
                        let [low, high] = self.multiply(symbol, coefficient).to_le_bytes();
                        sum[c] ^= low;
                        sum[32 + c] ^= high;
                    }
                }
            }
            sum
        };
        (0..recovery).map(shard).collect()
    }
}

/// The element as a polynomial in x.
fn polynomial(number: u16) -> u16 {
    (0..16)
        .filter(|bit| number >> bit & 1 == 1)
        .fold(0, |sum, bit| sum ^ BASIS[bit])
}

#[test]
fn the_basis_is_a_cantor_basis() {
    let field = Field::new();
    for bit in 1..16 {
        let element = 1 << bit;
        assert_eq!(field.multiply(element, element) ^ element, element >> 1);
    }
}

#[test]
fn the_vanishing_polynomial_is_the_product_over_the_run() {
    let field = Field::new();
    for run in [1_u16, 2, 8, 64] {
        for point in [run, run + 1, 5 * run + 3, 40_000] {
            let product = (0..run).fold(1, |product, w| field.multiply(product, point ^ w));
            let iterated = (0..run.trailing_zeros()).fold(point, |y, _| field.multiply(y, y) ^ y);
            assert_eq!(product, iterated, "{run} {point}");
        }
    }
}
