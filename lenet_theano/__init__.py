"""LeNet in Theano (Université de Montréal, since 2007): a symbolic graph, differentiated and compiled.

The user writes symbolic expressions, which compute nothing; `grad` adds the expressions of their derivatives;
`function` rewrites all of them and compiles a callable. TensorFlow adopted this design, and JAX its core:
trace, differentiate, compile. Theano's development ended in 2017. This port runs on PyTensor, its maintained
successor: read `import pytensor.tensor as pt` as `import theano.tensor as T`.
"""
