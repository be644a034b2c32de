//! Holm's step-down correction: of several true "no change", at most 5 % of comparisons find one false, whatever their
//! dependence.

/// Corrected p-values, in the order given; at most 1 and never below the plain ones.
pub(super) fn correct(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![1.0; p.len()];
    let mut largest = 0.0_f64;
    let mut left = p.len();
    for index in order {
        #[expect(clippy::cast_precision_loss, reason = "a few dozen at most")]
        let factor = left as f64;
        largest = largest.max((p[index] * factor).min(1.0));
        corrected[index] = largest;
        left -= 1;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::correct;

    #[test]
    fn the_smallest_is_multiplied_by_all_and_the_order_is_kept() {
        let corrected = correct(&[0.03, 0.01, 0.04]);
        let expected = [0.06, 0.03, 0.06];
        for (got, wanted) in corrected.iter().zip(expected) {
            assert!((got - wanted).abs() < 1e-12, "{corrected:?}");
        }
        assert!(correct(&[]).is_empty());
        assert_eq!(correct(&[0.9, 0.8]), vec![1.0, 1.0]);
    }
}
