//! How coordinates are turned into those of the page (ISO 32000-1 section 8.3.3).

use super::super::document::Document;
use super::super::object::Object;
use super::lines::Place;

/// The six numbers of a transformation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Matrix(pub(super) [f64; 6]);

impl Matrix {
    /// Everything stays where it is.
    pub(super) const ONE: Matrix = Matrix([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    /// That of six numbers; what is missing is 0.
    pub(super) fn of(numbers: &[Object]) -> Matrix {
        Matrix(std::array::from_fn(|place| match numbers.get(place) {
            Some(Object::Number(number)) => *number,
            _ => 0.0,
        }))
    }

    /// This one first, then the other.
    pub(super) fn times(&self, then: &Matrix) -> Matrix {
        let (Matrix([a, b, c, d, e, f]), Matrix([ta, tb, tc, td, te, tf])) = (self, then);
        Matrix([
            a * ta + b * tc,
            a * tb + b * td,
            c * ta + d * tc,
            c * tb + d * td,
            e * ta + f * tc + te,
            e * tb + f * td + tf,
        ])
    }

    /// The same, with its origin moved before.
    pub(super) fn moved(&self, right: f64, up: f64) -> Matrix {
        Matrix([1.0, 0.0, 0.0, 1.0, right, up]).times(self)
    }

    /// Where what reaches from the origin to `end` is, in which direction it reads, and how large it is; None where numbers
    /// are so large that they are none.
    pub(super) fn place(&self, end: (f64, f64)) -> Option<Place> {
        let Matrix([a, b, c, d, e, f]) = self;
        // From top to bottom it reads along the other axis.
        let (along, across) = if end.1 < 0.0 { ((-c, -d), (*a, *b)) } else { ((*a, *b), (*c, *d)) };
        let height = across.0.hypot(across.1);
        let size = if height > 0.0 { height } else { along.0.hypot(along.1) };
        let (to_x, to_y) = (e + end.0 * a + end.1 * c, f + end.0 * b + end.1 * d);
        let (turn, from, to, line) = match along {
            (x, y) if x.abs() >= y.abs() && x >= 0.0 => (0, *e, to_x, -f),
            (x, y) if x.abs() >= y.abs() => (2, -e, -to_x, *f),
            (_, y) if y > 0.0 => (1, *f, to_y, *e),
            _ => (3, -f, -to_y, -e),
        };
        let is_number = [from, to, line, size].iter().all(|number| number.is_finite());
        is_number.then_some(Place { turn, from, to, line, size })
    }

    /// What puts an area that this one has turned into a rectangle.
    pub(super) fn fitting(&self, area: [f64; 4], rect: [f64; 4]) -> Matrix {
        let Matrix([a, b, c, d, e, f]) = self;
        let corners = [(area[0], area[1]), (area[0], area[3]), (area[2], area[1]), (area[2], area[3])];
        let turned = corners.map(|(x, y)| (x * a + y * c + e, x * b + y * d + f));
        let bounds = |of: fn(&(f64, f64)) -> f64| {
            let values = turned.iter().map(of);
            (values.clone().fold(f64::MAX, f64::min), values.fold(f64::MIN, f64::max))
        };
        let scale = |(least, most): (f64, f64), from: f64, to: f64| {
            let (from, to) = (from.min(to), from.max(to));
            let scale = if most > least { (to - from) / (most - least) } else { 1.0 };
            (scale, from - least * scale)
        };
        let (across, right) = scale(bounds(|corner| corner.0), rect[0], rect[2]);
        let (upwards, up) = scale(bounds(|corner| corner.1), rect[1], rect[3]);
        Matrix([across, 0.0, 0.0, upwards, right, up])
    }
}

impl Document {
    /// The matrix of an array whose numbers may be references.
    pub(super) fn matrix(&self, numbers: &[Object]) -> Matrix {
        let resolved: Vec<Object> =
            numbers.iter().take(6).map(|number| self.resolve(number).clone()).collect();
        Matrix::of(&resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions() {
        let at = |matrix: [f64; 6], end| {
            Matrix(matrix).place(end).map(|place| (place.turn, place.from, place.to, place.line))
        };
        for (matrix, end, wanted) in [
            ([10.0, 0.0, 0.0, 10.0, 5.0, 7.0], (0.5, 0.0), Some((0, 5.0, 10.0, -7.0))),
            ([0.0, 10.0, -10.0, 0.0, 5.0, 7.0], (0.5, 0.0), Some((1, 7.0, 12.0, 5.0))),
            ([-10.0, 0.0, 0.0, -10.0, 5.0, 7.0], (0.5, 0.0), Some((2, -5.0, 0.0, 7.0))),
            ([0.0, -10.0, 10.0, 0.0, 5.0, 7.0], (0.5, 0.0), Some((3, -7.0, -2.0, -5.0))),
            ([10.0, 0.0, 0.0, 10.0, 5.0, 7.0], (0.0, -1.0), Some((3, -7.0, 3.0, -5.0))),
            ([f64::MAX, 0.0, 0.0, f64::MAX, 5.0, 7.0], (9.0, 0.0), None),
        ] {
            assert_eq!(at(matrix, end), wanted, "{matrix:?}");
        }
    }

    #[test]
    fn areas_are_put_into_rectangles() {
        let fitted = Matrix::ONE.fitting([0.0, 0.0, 10.0, 20.0], [100.0, 100.0, 120.0, 120.0]);
        assert_eq!(fitted, Matrix([2.0, 0.0, 0.0, 1.0, 100.0, 100.0]));
        assert_eq!(Matrix::ONE.fitting([0.0; 4], [5.0; 4]), Matrix([1.0, 0.0, 0.0, 1.0, 5.0, 5.0]));
    }
}
