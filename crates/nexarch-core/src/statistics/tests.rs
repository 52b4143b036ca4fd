//! Against reference values of `SciPy` 1.17.1 (`scipy.stats`, the function named at each), which none of this code shares.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::histogram::{Histogram, bounds, bucket};

fn close(found: f64, expected: f64, relative: f64) {
    assert!((found - expected).abs() <= relative * expected.abs().max(1e-300), "{found} is not {expected}");
}

#[test]
fn the_normal_distribution() {
    // 2 * norm.sf(z)
    let known = [
        (0.1, 0.920_344_325_445_942),
        (1.0, 0.317_310_507_862_914_15),
        (1.96, 0.049_995_790_296_440_87),
        (2.5758, 0.010_000_847_475_557_36),
        (3.5, 0.000_465_258_158_071_050_03),
        (5.0, 5.733_031_437_583_866e-7),
        (8.0, 1.244_192_114_854_348e-15),
        (20.0, 5.507_248_237_212_311e-89),
        (37.0, 1.145_114_244_504_785_3e-299),
    ];
    for (z, p) in known {
        close(two_sided(z), p, 1e-10);
        close(two_sided(-z), p, 1e-10);
    }
    // The two methods meet at 2·√2 without a step.
    let z = 2.0 * std::f64::consts::SQRT_2;
    close(two_sided(z - 1e-9), two_sided(z + 1e-9), 1e-7);
    assert_eq!((two_sided(f64::NAN), two_sided(f64::INFINITY)), (1.0, 0.0));
}

#[test]
fn the_gamma_function() {
    // scipy.special.gammaln
    let known = [
        (0.5, 0.572_364_942_924_7),
        (3.7, 1.428_072_326_665_388),
        (10.0, 12.801_827_480_081_469),
        (100.5, 361.435_540_467_777_57),
        (1e6, 12_815_504.569_147_611),
        (1e9, 19_723_265_827.503_716),
    ];
    for (x, ln) in known {
        close(ln_gamma(x), ln, 1e-12);
    }
    assert!(ln_gamma(1.0).abs() < 1e-12 && ln_gamma(2.0).abs() < 1e-12);
}

#[test]
fn two_proportions() {
    // The pooled z; its square is chi2_contingency(correction=False), whose p-value is the same.
    let known = [
        ((50, 1_000), (90, 1_000), 3.505_536_546_997_458, 0.000_455_687_934_645_396_1),
        ((5, 100), (25, 200), 2.041_241_452_319_315, 0.041_226_833_337_163_676),
        ((1_200, 40_000), (1_100, 40_000), -2.115_780_285_298_227, 0.034_363_498_587_903_49),
        ((300, 500), (20, 30), 0.725_116_301_563_859_9, 0.468_380_684_481_638_6),
    ];
    for (first, second, z, p) in known {
        let found = proportions(first, second).unwrap();
        close(found.z.unwrap(), z, 1e-10);
        close(found.p_value, p, 1e-3);
    }
}

#[test]
fn few_failures_are_tested_exactly() {
    // fisher_exact
    let known = [
        ((0, 1_000), (4, 100), 6.462_992_609_249_084e-5),
        ((1, 20), (9, 24), 0.013_028_531_463_018_13),
        ((3, 15), (0, 12), 0.230_769_230_769_230_78),
        ((0, 50), (1, 50), 1.0),
        ((2, 2_000_000), (9, 1_000_000), 0.001_371_716_033_251_840_8),
    ];
    for (first, second, p) in known {
        let found = proportions(first, second).unwrap();
        assert_eq!(found.z, None, "{first:?} {second:?}");
        close(found.p_value, p, 1e-3);
    }
    assert_eq!(proportions((3, 2), (1, 2)), None, "more failures than calls");
    assert_eq!(fisher((500_000, 1_000_000), (500_000, 1_000_000)), None, "too many tables");
    assert_eq!(proportions((0, 5), (0, 7)).map(|test| test.p_value), Some(1.0));
    assert_eq!(proportions((5, 5), (7, 7)).map(|test| test.p_value), Some(1.0));
}

/// Durations below 16 µs have buckets of their own.
fn histogram(values: &[u64]) -> (Histogram, u64) {
    let mut histogram = Histogram::default();
    for &us in values {
        histogram.record(us, 256);
    }
    (histogram, values.len() as u64)
}

fn repeated(runs: &[(u64, usize)]) -> Vec<u64> {
    runs.iter().flat_map(|&(us, times)| std::iter::repeat_n(us, times)).collect()
}

fn ranks(first: &[u64], second: &[u64]) -> Option<Ranks> {
    let (first, second) = (histogram(first), histogram(second));
    mann_whitney((&first.0, first.1), (&second.0, second.1))
}

#[test]
fn ranks_of_two_groups() {
    // mannwhitneyu(second, first, method="asymptotic", use_continuity=True): U/(n1·n2) and p
    let a = [3, 5, 5, 7, 7, 7, 8, 9, 11, 12, 15, 15];
    let b = [5, 7, 8, 9, 9, 11, 12, 13, 15, 15, 15, 14, 3];
    let many_a = repeated(&[(1, 100), (2, 200), (4, 50), (9, 10)]);
    let many_b = repeated(&[(1, 80), (2, 180), (4, 80), (9, 30)]);
    let (low, high): (Vec<u64>, Vec<u64>) = ((0..15).collect(), (1..16).collect());
    let known = [
        (&a[..], &b[..], 0.637_820_512_820_512_8, 0.249_490_177_381_176_51),
        (&many_a, &many_b, 0.575_450_450_450_450_4, 0.000_116_401_746_333_270_57),
        (&low, &high, 0.564_444_444_444_444_4, 0.560_836_566_122_678_6),
    ];
    for (first, second, superiority, p) in known {
        let found = ranks(first, second).unwrap();
        close(found.superiority, superiority, 1e-12);
        close(found.p_value, p, 1e-3);
        assert!(found.z > 0.0);
    }
}

#[test]
fn ranks_need_ten_of_each_and_some_variation() {
    assert_eq!(ranks(&[1; 9], &[2; 50]), None);
    assert_eq!(ranks(&[3; 50], &[3; 50]), None);
    assert!(ranks(&[1; 10], &[2; 10]).unwrap().p_value < 0.001);
    assert_eq!(ranks(&[], &[]), None);
}

#[test]
fn the_weight_of_a_sampled_duration_is_no_evidence() {
    let (first, second) = (repeated(&[(1, 30), (2, 20)]), repeated(&[(1, 20), (2, 30)]));
    let plain = ranks(&first, &second).unwrap();
    let heavy = |values: &[u64]| {
        let mut histogram = Histogram::default();
        for &us in values {
            histogram.record(us, 256 * 1_000);
        }
        histogram
    };
    let weighted = mann_whitney((&heavy(&first), 50), (&heavy(&second), 50)).unwrap();
    close(weighted.p_value, plain.p_value, 1e-3);
}

#[test]
fn false_discoveries() {
    // false_discovery_control, with the 25 p-values that its documentation takes from Benjamini and Hochberg's successors
    let p = [
        0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216, 0.222, 0.251, 0.269, 0.275,
        0.34, 0.341, 0.384, 0.569, 0.594, 0.696, 0.762, 0.94, 0.942, 0.975, 0.986,
    ];
    let expected = [
        0.025,
        0.1,
        0.21,
        0.21,
        0.21,
        0.25,
        0.264_285_71,
        0.491_071_43,
        0.491_071_43,
        0.491_071_43,
        0.491_071_43,
        0.491_071_43,
        0.491_071_43,
        0.491_071_43,
        0.532_812_5,
        0.532_812_5,
        0.564_705_88,
        0.781_578_95,
        0.781_578_95,
        0.87,
        0.907_142_86,
        0.986,
        0.986,
        0.986,
        0.986,
    ];
    for (found, expected) in adjust(&p).into_iter().zip(expected) {
        close(found, expected, 1e-3);
    }
    assert_eq!(adjust(&[]), Vec::<f64>::new());
}

#[test]
fn quantiles_have_exact_ends() {
    // The largest l with binom.cdf(l − 1, n, q) ≤ 2.5 %, the smallest u with binom.sf(u − 1, n, q) ≤ 2.5 %.
    let known = [
        (5, 500, None, None),
        (6, 500, Some(1), Some(6)),
        (20, 500, Some(6), Some(15)),
        (100, 500, Some(40), Some(61)),
        (100, 950, Some(90), Some(100)),
        (50, 950, Some(44), None),
        (72, 950, Some(64), Some(72)),
        (500, 950, Some(465), Some(485)),
        (2_000, 500, Some(956), Some(1_045)),
    ];
    for (n, per_mille, low, high) in known {
        // The k-th duration lies in the k-th bucket, so that ranks can be read off; of many, four share one.
        let share = if n > 500 { 4 } else { 1 };
        let mut histogram = Histogram::default();
        for rank in 0..n {
            histogram.add_bin(u16::try_from(rank / share).unwrap(), 256);
        }
        let range = quantile_range(&histogram, n, per_mille);
        let place = |rank: u64| bounds(u16::try_from((rank - 1) / share).unwrap());
        assert_eq!(range.low_us, low.map(|rank| place(rank).0 as f64), "{n} {per_mille}");
        assert_eq!(range.high_us, high.map(|rank| (place(rank).0 + place(rank).1) as f64), "{n} {per_mille}");
    }
}

#[test]
fn many_durations_have_ends_by_the_normal_approximation() {
    // binom.ppf(0.025 and 0.975, n, q): 9457 and 9542 of 10,000; 949,572 and 950,427 of a million.
    for (n, low, high) in [(10_000i64, 9_457, 9_542), (1_000_000, 949_572, 950_427)] {
        let mut histogram = Histogram::default();
        // Buckets 10, 11 and 12 begin at the ranks around either end.
        histogram.add_bin(10, 256 * (low - 3));
        histogram.add_bin(11, 256 * (high + 4 - (low - 3)));
        histogram.add_bin(12, 256 * (n - high - 4));
        let range = quantile_range(&histogram, n.cast_unsigned(), 950);
        assert_eq!((range.low_us, range.high_us), (Some(11.0), Some(12.0)), "within three ranks");
    }
}

proptest! {
    /// The interval of 95 % holds the true quantile of a known distribution about that often; here it must hold the
    /// sample's own.
    #[test]
    fn an_interval_holds_the_quantile(values in vec(0u64..2_000_000, 1..400), per_mille in 1u16..1000) {
        let (histogram, n) = histogram(&values);
        let range = quantile_range(&histogram, n, per_mille);
        let quantile = histogram.quantile_us(per_mille).unwrap();
        prop_assert!(range.low_us.is_none_or(|low| low <= quantile));
        prop_assert!(range.high_us.is_none_or(|high| quantile <= high));
    }

    /// Exchanging the groups turns the sign and nothing else; a longer group never makes the first look longer.
    #[test]
    fn ranks_are_symmetric(first in vec(0u64..100_000, 10..60), second in vec(0u64..100_000, 10..60)) {
        if let (Some(there), Some(back)) = (ranks(&first, &second), ranks(&second, &first)) {
            prop_assert!((there.superiority + back.superiority - 1.0).abs() < 1e-9);
            prop_assert!((there.z + back.z).abs() < 1e-9);
            prop_assert!((0.0..=1.0).contains(&there.p_value));
        }
        // By definition: the share of pairs that the second wins, by bucket.
        let wins: f64 = first.iter().flat_map(|a| second.iter().map(|b| match bucket(*b).cmp(&bucket(*a)) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        })).sum();
        if let Some(found) = ranks(&first, &second) {
            prop_assert!((found.superiority - wins / (first.len() * second.len()) as f64).abs() < 1e-9);
        }
    }

    /// Adjusted values are never smaller than the p-values, keep their order, and do not depend on it.
    #[test]
    fn adjusting_is_monotone(mut p in vec(0.000_1f64..1.0, 1..50)) {
        let adjusted = adjust(&p);
        for (p, q) in p.iter().zip(&adjusted) {
            prop_assert!(*q >= p * 0.999 && *q <= 1.0);
        }
        let mut sorted = adjusted;
        sorted.sort_by(f64::total_cmp);
        p.sort_by(f64::total_cmp);
        prop_assert_eq!(adjust(&p), sorted);
    }

    /// Where both tests may be used they agree about what is far from chance.
    #[test]
    fn the_exact_test_and_the_normal_one_agree(a in 0u64..300, b in 0u64..300) {
        let (first, second) = ((a, 300), (b, 300));
        let exact = fisher(first, second).unwrap();
        let found = proportions(first, second).unwrap();
        if found.z.is_some() && found.p_value < 0.001 {
            prop_assert!(exact < 0.01);
        }
        if exact < 0.001 {
            prop_assert!(found.p_value < 0.01);
        }
    }
}
