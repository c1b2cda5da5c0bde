//! What kind of value each part of an expression gives, as far as that is known before there is
//! an entry: so that what can never do is refused at the start.
//!
//! CEL has no types that are written down. But a function that is tried with values of each kind
//! of argument tells whether it takes them, and what kind it gives.

use std::sync::Arc;

use cel::common::ast::operators::{CONDITIONAL, LOGICAL_AND, LOGICAL_OR};
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue};
use cel::common::types::{CelTimestamp, Kind};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, Value};
use chrono::DateTime;

use super::RuleError;
use super::expression::{Misfit, NOW, Wanted};

/// Checks an expression in which each use of an attribute is one of these variables; gives what
/// kind of value it has, if that is known.
pub(super) fn check(
    tree: &IdedExpr,
    env: &Arc<Env>,
    variables: &[(&str, Kind)],
) -> Result<Option<Kind>, Misfit> {
    let moment = Moment(CelTimestamp::from(DateTime::UNIX_EPOCH.fixed_offset()));
    let mut context = Context::with_env(Arc::clone(env));
    context.set_variable_resolver(&moment);
    let mut checker = Checker {
        context: &context,
        variables,
        scope: Vec::new(),
    };
    Ok(checker.known(tree)?.map(|known| known.kind))
}

/// That a kind of value is not the one that is needed, if so.
pub(super) fn unwanted(kind: Kind, wanted: Wanted) -> Option<RuleError> {
    let (is_wanted, wanted) = match wanted {
        Wanted::Text => (
            matches!(kind, Kind::String | Kind::Int | Kind::UInt | Kind::NullType),
            "a text",
        ),
        Wanted::Truth => (kind == Kind::Boolean, "true or false"),
    };
    let gives = in_words(kind);
    (!is_wanted).then_some(RuleError::WrongKind { gives, wanted })
}

/// Any moment.
struct Moment(CelTimestamp);

impl VariableResolver for Moment {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        (variable == NOW).then_some(CowVal::Borrowed(&self.0))
    }
}

/// What is known of a part.
struct Known {
    kind: Kind,
    /// Values of the kind, to try with; none where there are no usual ones.
    samples: Vec<Expr>,
}

impl Known {
    fn of(kind: Kind) -> Self {
        let text = |text: &str| Expr::Literal(LiteralValue::String(text.to_owned().into()));
        let samples = match kind {
            Kind::String => ["", "1", "20260101000000Z", "1s"].map(text).to_vec(),
            Kind::Boolean => vec![Expr::Literal(LiteralValue::Boolean(true.into()))],
            Kind::Int => [0, 1]
                .map(|number: i64| Expr::Literal(LiteralValue::Int(number.into())))
                .to_vec(),
            Kind::Timestamp => vec![Expr::Ident(NOW.to_owned())],
            _ => Vec::new(),
        };
        Known { kind, samples }
    }

    /// A list of texts.
    fn texts() -> Self {
        let elements = Known::of(Kind::String).samples.into_iter().map(node);
        Known {
            kind: Kind::List,
            samples: vec![Expr::List(ListExpr::new(elements.collect()))],
        }
    }
}

fn node(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

struct Checker<'a> {
    context: &'a Context<'a, 'a>,
    variables: &'a [(&'a str, Kind)],
    /// The variables of the surrounding `map`, `filter`, `all`, …, which hide others.
    scope: Vec<String>,
}

impl Checker<'_> {
    fn known(&mut self, node: &IdedExpr) -> Result<Option<Known>, Misfit> {
        match &node.expr {
            Expr::Literal(literal) => Ok(Some(Known {
                kind: literal.to_val().get_type().kind(),
                samples: vec![node.expr.clone()],
            })),
            Expr::Ident(name) if self.scope.contains(name) => Ok(None),
            Expr::Ident(name) if name == NOW => Ok(Some(Known::of(Kind::Timestamp))),
            Expr::Ident(name) => {
                let variable = self.variables.iter().find(|(known, _)| known == name);
                Ok(variable.map(|(_, kind)| match kind {
                    Kind::List => Known::texts(),
                    kind => Known::of(*kind),
                }))
            }
            Expr::Call(call) => self.call(node.id, call),
            Expr::List(list) => {
                for element in &list.elements {
                    self.known(element)?;
                }
                Ok(Some(Known::of(Kind::List)))
            }
            Expr::Comprehension(of) => {
                self.known(&of.iter_range)?;
                let start = self.known(&of.accu_init)?;
                let outside = self.scope.len();
                self.scope
                    .extend([of.iter_var.clone(), of.accu_var.clone()]);
                self.scope.extend(of.iter_var2.clone());
                for part in [&of.loop_cond, &of.loop_step, &of.result] {
                    self.known(part)?;
                }
                self.scope.truncate(outside);
                let is_start = matches!(&of.result.expr, Expr::Ident(name) if *name == of.accu_var);
                Ok(start
                    .filter(|_| is_start)
                    .map(|start| Known::of(start.kind)))
            }
            Expr::Select(select) => {
                self.known(&select.operand)?;
                Ok(None)
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.known(&entry.key)?;
                        self.known(&entry.value)?;
                    }
                }
                Ok(Some(Known::of(Kind::Map)))
            }
            Expr::Struct(_) | Expr::Unspecified => Ok(None),
        }
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Result<Option<Known>, Misfit> {
        let target = call.target.as_deref();
        let parts: Vec<&IdedExpr> = target.into_iter().chain(&call.args).collect();
        let mut known = Vec::new();
        for part in &parts {
            known.push(self.known(part)?);
        }
        let truths = match call.func_name.as_str() {
            LOGICAL_AND | LOGICAL_OR => parts.len(),
            CONDITIONAL => 1,
            _ => 0,
        };
        for (part, known) in parts.iter().zip(&known).take(truths) {
            if let Some(known) = known
                && known.kind != Kind::Boolean
            {
                return Err((part.id, refuse(call, &[known.kind])));
            }
        }
        match call.func_name.as_str() {
            LOGICAL_AND | LOGICAL_OR => return Ok(Some(Known::of(Kind::Boolean))),
            CONDITIONAL => {
                let otherwise = known.pop().flatten();
                let then = known.pop().flatten();
                return Ok(match (then, otherwise) {
                    (Some(then), Some(otherwise)) if then.kind == otherwise.kind => {
                        Some(Known::of(then.kind))
                    }
                    _ => None,
                });
            }
            _ => {}
        }
        // In `math.abs(…)` the target is a part of the name: it stands for no value.
        let is_name = matches!(target.map(|target| &target.expr), Some(Expr::Ident(name)) if !self.scope.contains(name))
            && known.first().is_some_and(Option::is_none);
        if is_name {
            known.remove(0);
        }
        match known.into_iter().collect::<Option<Vec<Known>>>() {
            Some(known) => self.try_out(id, call, is_name, &known),
            None => Ok(None),
        }
    }

    /// Calls a function with values of these kinds.
    fn try_out(
        &self,
        id: u64,
        call: &CallExpr,
        is_name: bool,
        known: &[Known],
    ) -> Result<Option<Known>, Misfit> {
        let rounds = known.iter().map(|known| known.samples.len()).max();
        if known.iter().any(|known| known.samples.is_empty()) {
            return Ok(None);
        }
        let mut refusals = 0;
        let rounds = rounds.unwrap_or(0).max(1);
        for round in 0..rounds {
            let mut call = call.clone();
            let samples = known.iter().map(|known| {
                let sample = known.samples.get(round % known.samples.len());
                node(sample.cloned().unwrap_or_default())
            });
            let mut samples: Vec<IdedExpr> = samples.collect();
            if call.target.is_some() && !is_name {
                call.target = Some(Box::new(samples.remove(0)));
            }
            call.args = samples;
            let is_split = call.func_name == "split";
            let call = node(Expr::Call(call));
            match Value::resolve_val(&call, self.context) {
                Ok(_) if is_split => return Ok(Some(Known::texts())),
                Ok(value) => return Ok(Some(Known::of(value.get_type().kind()))),
                Err(error) => refusals += usize::from(is_misfit(&error)),
            }
        }
        if refusals == rounds {
            let kinds: Vec<Kind> = known.iter().map(|known| known.kind).collect();
            return Err((id, refuse(call, &kinds)));
        }
        Ok(None)
    }
}

/// Whether an error is about the kinds of the arguments, and not about their values.
fn is_misfit(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::NoSuchOverload(_)
            | ExecutionError::UnexpectedType { .. }
            | ExecutionError::UnsupportedBinaryOperator(..)
            | ExecutionError::UnsupportedIndex(..)
            | ExecutionError::ValuesNotComparable(..)
    )
}

fn refuse(call: &CallExpr, kinds: &[Kind]) -> RuleError {
    let given: Vec<&str> = kinds.iter().map(|kind| in_words(*kind)).collect();
    let name = call.func_name.trim_matches(['_', '@']);
    RuleError::WrongArgument {
        function: if name == "?_:" { "?:" } else { name }.to_owned(),
        given: match given.as_slice() {
            [] => "nothing".to_owned(),
            given => given.join(" and "),
        },
    }
}

fn in_words(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "a text",
        Kind::Boolean => "true or false",
        Kind::Int | Kind::UInt | Kind::Double => "a number",
        Kind::List => "a list",
        Kind::Map => "a map",
        Kind::Timestamp => "a moment",
        Kind::Duration => "a duration",
        Kind::NullType => "null",
        Kind::Bytes => "bytes",
        _ => "a value of another kind",
    }
}
