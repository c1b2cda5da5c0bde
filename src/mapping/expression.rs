//! CEL expressions over an entry's attributes.
//!
//! `attr("mail")` is the first value of an attribute, or "" without one; `attrs("mail")` is the
//! list of all. Both take a literal name, so that the attributes to ask the server for are
//! known beforehand. `has_bit(text, n)` tests a bit mask, as in userAccountControl. The string
//! functions are those of CEL's strings extension (`lowerAscii`, `replace`, `split`, …).

use std::collections::BTreeSet;
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::{Context, Env, ExecutionError, Value};

use super::Problem;
use crate::config::MappingTarget;
use crate::model::{Entry, NotText};

/// A compiled expression.
pub(super) struct Expression {
    tree: IdedExpr,
    env: Arc<Env>,
    uses: BTreeSet<Use>,
}

/// One use of an attribute; in the tree it stands as a variable of the name
/// [`Use::variable`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    First(String),
    All(String),
}

impl Use {
    /// A space cannot be part of a name in an expression, so that no other variable can clash.
    fn variable(&self) -> String {
        match self {
            Use::First(name) => format!("attr {name}"),
            Use::All(name) => format!("attrs {name}"),
        }
    }

    fn attribute(&self) -> &str {
        match self {
            Use::First(name) | Use::All(name) => name,
        }
    }

    fn value(&self, entry: &Entry) -> Result<Value, NotText> {
        Ok(match self {
            Use::First(name) => Value::from(entry.text(name)?.unwrap_or_default()),
            Use::All(name) => Value::from(
                entry
                    .texts(name)?
                    .into_iter()
                    .map(Value::from)
                    .collect::<Vec<_>>(),
            ),
        })
    }
}

/// Why an expression was refused.
#[derive(Debug, thiserror::Error)]
pub enum ExpressionError {
    /// It does not parse.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Line in the expression, from 1.
        line: isize,
        /// Column in the expression, from 1.
        column: isize,
        /// What the parser said.
        message: String,
    },
    /// `attr` or `attrs` without one literal name.
    #[error("`{0}` takes one name in quotes, such as {0}(\"mail\")")]
    NotLiteral(String),
    /// It uses something that is not there.
    #[error("{0}; attributes are written attr(\"name\")")]
    Unknown(String),
}

impl Expression {
    pub(super) fn compile(text: &str) -> Result<Self, ExpressionError> {
        let mut env = Env::stdlib();
        env.add_extension(cel::extensions::strings)
            .and_then(|()| env.add_extension(cel::extensions::lists))
            .and_then(|()| env.add_extension(cel::extensions::math))
            .map_err(|error| ExpressionError::Unknown(error.to_string()))?;
        let env = Arc::new(env);
        let program = env.compile(text).map_err(|errors| {
            let first = errors.errors.first();
            ExpressionError::Syntax {
                line: first.map_or(1, |error| error.pos.0),
                column: first.map_or(1, |error| error.pos.1),
                message: first.map_or_else(|| errors.to_string(), |error| error.msg.clone()),
            }
        })?;
        let mut tree = program.expression().clone();
        let mut uses = BTreeSet::new();
        bind_attributes(&mut tree, &mut uses)?;
        let expression = Expression { tree, env, uses };
        // An empty entry tells whether every name is known. That its values make no sense
        // (a number out of "") is no fault of the expression.
        match expression.evaluate(&Entry::new("")) {
            Err(Failure::Execution(error @ ExecutionError::UndeclaredReference(_))) => {
                Err(ExpressionError::Unknown(error.to_string()))
            }
            _ => Ok(expression),
        }
    }

    pub(super) fn attributes(&self) -> impl Iterator<Item = &str> {
        self.uses.iter().map(Use::attribute)
    }

    pub(super) fn text(&self, target: MappingTarget, entry: &Entry) -> Result<String, Problem> {
        match self.evaluate(entry) {
            Ok(Value::String(text)) => Ok(text.as_ref().clone()),
            Ok(Value::Int(number)) => Ok(number.to_string()),
            Ok(Value::UInt(number)) => Ok(number.to_string()),
            Ok(Value::Null) => Ok(String::new()),
            other => Err(unusable(target, other, "a text")),
        }
    }

    pub(super) fn truth(&self, entry: &Entry) -> Result<bool, Problem> {
        match self.evaluate(entry) {
            Ok(Value::Bool(truth)) => Ok(truth),
            other => Err(unusable(MappingTarget::Active, other, "true or false")),
        }
    }

    fn evaluate(&self, entry: &Entry) -> Result<Value, Failure> {
        let mut context = Context::with_env(Arc::clone(&self.env));
        context
            .add_function("has_bit", has_bit)
            .map_err(|error| Failure::Declaration(error.to_string()))?;
        for used in &self.uses {
            context.add_variable_from_value(used.variable(), used.value(entry)?);
        }
        Ok(Value::resolve(&self.tree, &context)?)
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    #[error(transparent)]
    NotText(#[from] NotText),
    #[error("{0}")]
    Declaration(String),
}

fn unusable(target: MappingTarget, result: Result<Value, Failure>, wanted: &str) -> Problem {
    let why = match result {
        Ok(value) => format!("it gives a {}, not {wanted}", value.type_of()),
        Err(Failure::NotText(error)) => return Problem::NotText(error),
        Err(error) => error.to_string(),
    };
    Problem::Expression {
        target: target.to_string(),
        why,
    }
}

/// Whether a bit mask, written as a decimal number, has a bit. A mask that is not there has no
/// answer: that the bind DN may not read it must not pass for "not disabled".
fn has_bit(mask: Arc<String>, bit: i64) -> Result<bool, ExecutionError> {
    if mask.is_empty() {
        return Err(ExecutionError::function_error(
            "has_bit",
            "there is no value; check that the bind DN may read the attribute",
        ));
    }
    mask.trim()
        .parse::<i64>()
        .map(|mask| mask & bit != 0)
        .map_err(|_| ExecutionError::function_error("has_bit", format!("{mask:?} is no number")))
}

/// Turns each `attr("name")` into the variable that its value is bound to, and collects them.
fn bind_attributes(node: &mut IdedExpr, uses: &mut BTreeSet<Use>) -> Result<(), ExpressionError> {
    if let Expr::Call(call) = &node.expr
        && call.target.is_none()
        && matches!(call.func_name.as_str(), "attr" | "attrs")
    {
        let name = match call.args.as_slice() {
            [
                IdedExpr {
                    expr: Expr::Literal(LiteralValue::String(name)),
                    ..
                },
            ] => name.inner().to_owned(),
            _ => return Err(ExpressionError::NotLiteral(call.func_name.clone())),
        };
        let used = if call.func_name == "attr" {
            Use::First(name)
        } else {
            Use::All(name)
        };
        node.expr = Expr::Ident(used.variable());
        uses.insert(used);
        return Ok(());
    }
    let mut each = |child: &mut IdedExpr| bind_attributes(child, uses);
    match &mut node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Call(call) => {
            if let Some(target) = &mut call.target {
                each(target)?;
            }
            call.args.iter_mut().try_for_each(each)?;
        }
        Expr::Comprehension(comprehension) => {
            each(&mut comprehension.iter_range)?;
            each(&mut comprehension.accu_init)?;
            each(&mut comprehension.loop_cond)?;
            each(&mut comprehension.loop_step)?;
            each(&mut comprehension.result)?;
        }
        Expr::List(list) => list.elements.iter_mut().try_for_each(each)?,
        Expr::Select(select) => each(&mut select.operand)?,
        Expr::Map(map) => {
            for entry in &mut map.entries {
                bind_entry(&mut entry.expr, &mut each)?;
            }
        }
        Expr::Struct(structure) => {
            for entry in &mut structure.entries {
                bind_entry(&mut entry.expr, &mut each)?;
            }
        }
    }
    Ok(())
}

fn bind_entry(
    entry: &mut EntryExpr,
    each: &mut impl FnMut(&mut IdedExpr) -> Result<(), ExpressionError>,
) -> Result<(), ExpressionError> {
    match entry {
        EntryExpr::StructField(field) => each(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            each(&mut entry.key)?;
            each(&mut entry.value)
        }
    }
}
